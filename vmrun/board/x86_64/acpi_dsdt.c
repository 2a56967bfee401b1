/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/acpi_internal.h"

#include "format/tree/machine.h"
#include "vmrun/board/x86_64/x86_64.h"
#include "vmrun/devices/acpi_pm.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/devices/vmgenid.h"

#include <stdio.h>
#include <string.h>

/* A device at its ports, with its ISA interrupt: edge, as those are. */
static void dsdt_ports(struct aml *a, const struct machine_device *d, const char *name,
		       const char *id)
{
	struct aml_resources r = { .len = 0 };

	aml_device(a, name);
	aml_name(a, "_HID");
	if (!strncmp(id, "PNP", 3))
		aml_eisaid(a, id);
	else
		aml_string(a, id);
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_io(&r, (uint16_t)(d->gpa - MACHINE_IO), (uint8_t)d->size);
	if (d->irq)
		aml_irq(&r, d->irq);
	aml_name(a, "_CRS");
	aml_resources(a, &r);
	aml_end(a);
}

/* Linux' virtio_mmio knows it by this id. */
static void dsdt_virtio(struct aml *a, const struct machine *cfg, const struct machine_device *d)
{
	struct aml_resources r = { .len = 0 };
	unsigned             users = 0;
	char                 name[8];

	for (uint32_t i = 0; i < cfg->ndevices; i++)
		users += cfg->devices[i].irq == d->irq;
	snprintf(name, sizeof(name), "VR%02X", d->slot & 0xff);
	aml_device(a, name);
	aml_name(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_name(a, "_UID");
	aml_int(a, d->slot);
	aml_memory(&r, (uint32_t)d->gpa, (uint32_t)d->size);
	aml_interrupt(&r, d->irq, users > 1);
	aml_name(a, "_CRS");
	aml_resources(a, &r);
	aml_end(a);
}

/* Virtual Machine Generation ID, Microsoft, 2012: ADDR says where the GUID is. */
static void dsdt_vmgenid(struct aml *a)
{
	aml_device(a, "VGEN");
	aml_name(a, "_HID");
	aml_string(a, "VMFY0001");
	aml_name(a, "_CID");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "_DDN");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "ADDR");
	aml_package(a, 2);
	aml_int(a, VMGENID_GPA);
	aml_int(a, 0);
	aml_end(a);
	aml_end(a);
}

static void dsdt_event(struct aml *a, unsigned gpe, const char *device)
{
	char name[16];

	snprintf(name, sizeof(name), "_E%02X", gpe & 0xff);
	aml_scope(a, "_GPE");
	aml_method(a, name, 0);
	aml_notify(a, "_SB_", device, 0x80);
	aml_end(a);
	aml_end(a);
}

static void dsdt_sleep(struct aml *a, const char *state, unsigned type)
{
	aml_name(a, state);
	aml_package(a, 4);
	aml_int(a, type);
	aml_int(a, type);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}

static void dsdt_write(struct aml *a, const struct machine *cfg)
{
	bool vmgenid = false;

	aml_scope(a, "_SB_");
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		const struct machine_device *d = &cfg->devices[i];

		if (d->slot != SLOT_NONE) {
			dsdt_virtio(a, cfg, d);
		} else if (!strcmp(d->type, uart_ops.type)) {
			dsdt_ports(a, d, "COM1", "PNP0501");
		} else if (!strcmp(d->type, mc146818_ops.type)) {
			dsdt_ports(a, d, "RTC_", "PNP0B00");
		} else if (!strcmp(d->type, pvpanic_ops.type)) {
			dsdt_ports(a, d, "PEVT", "QEMU0001");
		} else if (!strcmp(d->type, vmgenid_ops.type)) {
			dsdt_vmgenid(a);
			vmgenid = true;
		}
	}
	aml_end(a);
	if (vmgenid)
		dsdt_event(a, ACPI_GPE_VMGENID, "VGEN");
	dsdt_sleep(a, "_S4_", ACPI_PM_SLP_S4);
	dsdt_sleep(a, "_S5_", ACPI_PM_SLP_S5);
}

/* The length is known at the end only: reserves all that is left, and returns the rest. */
uint32_t acpi_dsdt(struct acpi *t)
{
	uint32_t   gpa;
	size_t     left = t->capacity > t->at + 16 ? t->capacity - t->at - 16 : 0;
	uint8_t   *p = acpi_capacity(t, left, 16, &gpa);
	struct aml a = { 0 };

	if (!p || left <= ACPI_HEADER) {
		t->full = true;
		return 0;
	}
	a = (struct aml){ .buf = p + ACPI_HEADER, .capacity = left - ACPI_HEADER };
	dsdt_write(&a, t->cfg);
	t->full |= a.full;
	t->at   -= a.capacity - a.len;
	acpi_seal(p, ACPI_HEADER + a.len, "DSDT", 2);
	return gpa;
}
