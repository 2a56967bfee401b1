/* SPDX-License-Identifier: MIT */
#include "vmrun/board/riscv64/riscv64.h"

#include "vmrun/board/plan.h"
#include "vmrun/devices/plic.h"
#include "vmrun/devices/vmgenid.h"

#include <stdio.h>
#include <string.h>

/* The devices of each machine type. A type never changes; what differs is another type. */

/* As QEMU's virt has them; there the page and the interrupt of vmgenid are free. */
static const struct plan_device riscv64_1[] = {
	{ &plic_ops,    .gpa = 0x0c000000, .size = PLIC_WINDOW },
	{ &uart_ops,    .gpa = 0x10000000, .size = 0x100, .irq = 10, .host = "console" },
	{ &rtc_ops,     .gpa = 0x00101000, .size = 0x1000, .irq = 11 },
	{ &vmgenid_ops, .gpa = 0x00102000, .size = VMGENID_BYTES, .irq = 9 },
	{ .ops = NULL }
};

const struct board_machine riscv64_machines[] = {
	{ MACHINE_RISCV64_1, riscv64_1 },
	{ .fixed = NULL }
};

static int riscv64_slots(struct machine *cfg, struct fail *why)
{
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		struct machine_device *d = &cfg->devices[i];

		if (d->gpa)
			continue;
		if (plan_slot(cfg, d, RISCV64_SLOTS, why))
			return -1;
		d->gpa  = RISCV64_VIRTIO + (uint64_t)d->slot * RISCV64_VIRTIO_SIZE;
		d->size = RISCV64_VIRTIO_SIZE;
		d->irq  = d->slot < 8 ? 1 + d->slot : 12 + d->slot - 8;
	}
	return 0;
}

/* Linux silently truncates longer ones. */
int riscv64_append(const struct machine *cfg, struct fail *why)
{
	if (strlen(cfg->append) > RISCV64_CMDLINE_MAX)
		return fail_set(why, FAIL_USAGE,
				"append: %zu characters exceed the limit of %u of %s",
				strlen(cfg->append), RISCV64_CMDLINE_MAX,
				machine_type_name(cfg->type));
	return 0;
}

int riscv64_plan(struct machine *cfg, struct fail *why)
{
	const struct machine_type_info *type = &machine_types[cfg->type];

	if (cfg->ncpus == 0 || cfg->ncpus > PLIC_HARTS_MAX)
		return fail_set(why, FAIL_USAGE,
				"%s: number of CPUs out of range: %u (valid: 1 to %u)",
				type->name, cfg->ncpus, PLIC_HARTS_MAX);
	if (cfg->nregions == 0)
		return fail_set(why, FAIL_USAGE, "%s: missing main RAM", type->name);
	if (riscv64_append(cfg, why))
		return fail_prefix(why, "--");
	if (!cfg->regions[0].gpa)
		cfg->regions[0].gpa = type->ram_gpa;
	plan_ram(&cfg->regions[0], "ram");
	if (!cfg->cpu_model[0])
		snprintf(cfg->cpu_model, sizeof(cfg->cpu_model), "%s", type->cpu_model);
	if (!cfg->timebase_hz)
		cfg->timebase_hz = type->timebase_hz;
	if (plan_fixed(cfg, riscv64_machines, why) || plan_console(cfg, why))
		return -1;
	return riscv64_slots(cfg, why);
}
