#ifndef VMRUN_DEVICES_VMGENID_H
#define VMRUN_DEVICES_VMGENID_H

#include "vmrun/devices/device.h"

/* Virtual Machine Generation ID: 16 random bytes in guest memory that change when the guest goes on as a copy of itself, so
 * that it seeds its random numbers anew. Its window reads zero. Source: Microsoft, "Virtual Machine Generation ID" (2012). */

#define VMGENID_GPA 0xe8000u      /* where they are: the DSDT's ADDR; no RAM for the guest to use */

extern const struct device_ops vmgenid_ops;

/* With machine_lock, the VM standing: this guest is a copy. A new ID into its memory, and event ACPI_GPE_VMGENID. */
int vmgenid_renew(struct device *d, struct fail *why);

#endif
