/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/x86_64.h"

#include "vmrun/board/plan.h"
#include "vmrun/devices/acpi_pm.h"

#include <inttypes.h>
#include <stdio.h>

#define PORTS(first, n) .gpa = MACHINE_IO + (first), .size = (n)

/* The devices of each machine type. A type never changes; what differs is another type. */
static const struct plan_device x86_64_1[] = {
	{ &uart_ops,      PORTS(0x3f8, 8), .irq = 4, .host = "console" },
	{ &mc146818_ops,  PORTS(0x70, 2), .irq = 8 },
	{ &i8042_ops,     PORTS(0x60, 5) },      /* with port B at 0x61 */
	{ &acpi_pm_ops,   PORTS(X86_64_PM, ACPI_PM_SIZE), .irq = X86_64_SCI },
	{ &cf9_ops,       PORTS(X86_64_RESET, 1) },
	{ &pvpanic_ops,   PORTS(0x505, 1) },
	{ &debugexit_ops, PORTS(0xf4, 4) },
	{ &vmgenid_ops,   .gpa = 0xfed40000, .size = 0x1000 },      /* registers, which read zero */
	{ .ops = NULL }
};

const struct board_machine x86_64_machines[] = {
	{ MACHINE_X86_64_1, x86_64_1 },
	{ .fixed = NULL }
};

/* All of it in region 0, as asked for: what is above 3 GiB goes behind the devices. */
static int x86_64_ram(struct machine *cfg, struct fail *why)
{
	const struct machine_type_info *type = &machine_types[cfg->type];
	struct machine_region          *low = &cfg->regions[0], *high = &cfg->regions[1];

	plan_ram(low, "ram");
	if (low->size < type->ram_min)
		return fail_set(why, FAIL_USAGE,
				"%s: %" PRIu64
				" KiB of RAM, at least %" PRIu64 " MiB required; increase --memory",
				type->name, low->size >> 10, type->ram_min >> 20);
	if (low->size <= type->ram_low_max)
		return 0;
	if (cfg->nregions != 1)
		return fail_set(why, FAIL_USAGE,
				"%s: duplicate region 1, used for RAM above 3 GiB", type->name);
	*high = (struct machine_region){
		.id        = 1,
		.kind      = REGION_RAM,
		.gpa       = type->ram_high_gpa,
		.size      = low->size - type->ram_low_max,
		.page_size = low->page_size,
	};
	plan_ram(high, "ram-high");
	low->size     = type->ram_low_max;
	cfg->nregions = 2;
	return 0;
}

static uint32_t x86_64_slot_irq(uint32_t slot)
{
	/* What no fixed device, PIT, keyboard or FPU has of the first 16. */
	static const uint8_t isa[8] = { 5, 10, 11, 3, 6, 7, 14, 15 };

	return slot % 16 < 8 ? 16 + slot % 16 : isa[slot % 8];
}

static int x86_64_slots(struct machine *cfg, struct fail *why)
{
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		struct machine_device *d = &cfg->devices[i];

		if (d->gpa)
			continue;
		if (plan_slot(cfg, d, X86_64_SLOTS, why))
			return -1;
		d->gpa  = X86_64_VIRTIO + (uint64_t)d->slot * X86_64_VIRTIO_SIZE;
		d->size = X86_64_VIRTIO_SIZE;
		d->irq  = x86_64_slot_irq(d->slot);
	}
	return 0;
}

int x86_64_plan(struct machine *cfg, struct fail *why)
{
	if (cfg->ncpus == 0 || cfg->ncpus > X86_64_CPUS_MAX)
		return fail_set(why, FAIL_USAGE,
				"%s: number of CPUs out of range: %u (valid: 1 to %u)",
				machine_type_name(cfg->type), cfg->ncpus, X86_64_CPUS_MAX);
	if (cfg->nregions == 0)
		return fail_set(why, FAIL_USAGE, "%s: missing main RAM",
				machine_type_name(cfg->type));
	if (x86_64_ram(cfg, why) || plan_fixed(cfg, x86_64_machines, why) ||
	    plan_console(cfg, why))
		return -1;
	return x86_64_slots(cfg, why);
}

unsigned x86_64_map(const struct machine *cfg, struct x86_64_map out[X86_64_MAP_MAX])
{
	const struct machine_region *high = machine_region_find(cfg, 1);
	unsigned                     n = 0;

	out[n++] = (struct x86_64_map){ .gpa = 0, .size = X86_64_EBDA, .type = X86_64_MAP_RAM };
	out[n++] = (struct x86_64_map){ .gpa = X86_64_EBDA, .size = X86_64_KERNEL - X86_64_EBDA,
					.type = X86_64_MAP_RESERVED };
	out[n++] = (struct x86_64_map){ .gpa = X86_64_KERNEL,
					.size = cfg->regions[0].size - X86_64_KERNEL,
					.type = X86_64_MAP_RAM };
	if (high && high->kind == REGION_RAM)
		out[n++] = (struct x86_64_map){ .gpa = high->gpa, .size = high->size,
						.type = X86_64_MAP_RAM };
	return n;
}
