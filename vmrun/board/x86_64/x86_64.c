/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/x86_64.h"

#include "vmrun/devices/acpi_pm.h"
#include "vmrun/devices/device_list.h"

#include <inttypes.h>

static int x86_64_check_regions(const struct machine *cfg, struct fail *why)
{
	const struct machine_type_info *type = &machine_types[cfg->type];
	const struct machine_region    *low  = machine_region_find(cfg, 0);

	if (!low || low != &cfg->regions[0] || low->kind != REGION_RAM ||
	    low->gpa != type->ram_gpa || low->size < type->ram_min || low->size > type->ram_low_max)
		return fail_set(why, FAIL_CORRUPT,
			"%s: invalid region 0 (valid: RAM at address 0, %" PRIu64
			" MiB to 3 GiB)", type->name, type->ram_min >> 20);
	for (uint32_t i = 1; i < cfg->nregions; i++)
		if (cfg->regions[i].kind != REGION_DISK && cfg->regions[i].gpa < type->ram_high_gpa)
			return fail_set(why, FAIL_CORRUPT,
					"%s: region %s: invalid address 0x%" PRIx64 ", below 4 GiB",
					type->name, cfg->regions[i].name, cfg->regions[i].gpa);
	return 0;
}

/* A window, which wraps around nowhere: ports, or below 4 GiB beside the interrupt controllers. */
static bool x86_64_window(const struct machine *cfg, const struct machine_device *d)
{
	uint64_t end = d->gpa + d->size;

	if (d->gpa >= MACHINE_IO)
		return end <= MACHINE_IO + 0x10000;
	return end <= machine_types[cfg->type].ram_high_gpa &&
	       (end <= X86_64_IOAPIC || d->gpa >= X86_64_IOAPIC + 0x1000) &&
	       (end <= X86_64_LAPIC || d->gpa >= X86_64_LAPIC + 0x1000);
}

static int x86_64_check(const struct machine *cfg, struct fail *why)
{
	if (cfg->ncpus == 0 || cfg->ncpus > X86_64_CPUS_MAX)
		return fail_set(why, FAIL_CORRUPT,
				"%s: number of CPUs out of range: %u (valid: 1 to %u)",
				machine_type_name(cfg->type), cfg->ncpus, X86_64_CPUS_MAX);
	if (x86_64_check_regions(cfg, why))
		return -1;
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		const struct machine_device *d = &cfg->devices[i];

		if (!x86_64_window(cfg, d))
			return fail_set(why, FAIL_CORRUPT,
					"device %s: invalid address for %s: 0x%" PRIx64,
					d->type, machine_type_name(cfg->type), d->gpa);
		if (d->irq >= X86_64_PINS)
			return fail_set(why, FAIL_CORRUPT, "device %s: interrupt %u out of range",
					d->type, d->irq);
		/* The PIT's, by either way. */
		if (d->irq == 2)
			return fail_set(why, FAIL_CORRUPT,
					"device %s: interrupt 2 reserved for the timer", d->type);
		for (uint32_t j = 0; j < i; j++) {
			const struct machine_device *o = &cfg->devices[j];

			if (d->irq && d->irq == o->irq &&
			    (d->slot == SLOT_NONE || o->slot == SLOT_NONE))
				return fail_set(why, FAIL_CORRUPT,
						"devices %s and %s: duplicate interrupt %u",
						d->type, o->type, d->irq);
		}
	}
	return 0;
}

static void x86_64_irq(struct board *b, uint32_t irq, bool level)
{
	uint32_t pin = 1u << irq;

	if (b->pins_known & pin && !(b->pins & pin) == !level)
		return;
	b->pins_known |= pin;
	b->pins = level ? b->pins | pin : b->pins & ~pin;
	b->host->accel->ops->gsi(b->host->accel, irq, level);
}

static void x86_64_button(struct board *b)
{
	struct device *pm = board_device(b, &acpi_pm_ops);

	if (pm)
		acpi_pm_button(pm);
}

/* The generation ID has no interrupt here: ACPI's event tells the guest to look at it. */
static void x86_64_copied(struct board *b)
{
	struct device *pm = board_device(b, &acpi_pm_ops);

	for (unsigned i = 0; pm && i < b->ndevices; i++)
		if (b->devices[i]->ops == &vmgenid_ops && !b->devices[i]->cfg.irq)
			acpi_pm_gpe(pm, ACPI_GPE_VMGENID);
}

const struct board_ops board_x86_64 = {
	.machines = x86_64_machines,
	.cpus_max = X86_64_CPUS_MAX,
	.kernel   = x86_64_kernel,
	.plan     = x86_64_plan,
	.check    = x86_64_check,
	.bootable = x86_64_bootable,
	.boot     = x86_64_boot,
	.irq      = x86_64_irq,
	.button   = x86_64_button,
	.copied   = x86_64_copied,
};
