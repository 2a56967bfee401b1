/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VMGENID_H
#define VMRUN_DEVICES_VMGENID_H

/* Virtual Machine Generation ID: 16 random bytes that change when the guest continues as a copy of
 * itself, so that it reseeds its random number generator. Where the guest finds them is up to the
 * machine:
 *   with an interrupt     in its register window, which has VMGENID_BYTES; the interrupt says that
 *                         they have changed
 *                         (Linux: Documentation/devicetree/bindings/rng/microsoft,vmgenid.yaml)
 *   without one (ACPI)    in memory, at VMGENID_GPA; its window reads zero, and ACPI_GPE_VMGENID
 *                         says that they have changed
 *                         (Microsoft, "Virtual Machine Generation ID", 2012) */

#define VMGENID_GPA   0xe8000u    /* the DSDT's ADDR; not RAM for the guest to use */
#define VMGENID_BYTES 16u

#endif
