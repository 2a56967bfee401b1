/* SPDX-License-Identifier: MIT */
#include "vmrun/board/riscv64/riscv64.h"

#include "format/state/state_plic.h"
#include "libcommon/bytes.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/devices/plic.h"

#include <elf.h>
#include <string.h>

static bool riscv64_kernel(const uint8_t *head, size_t len)
{
	if (len >= sizeof(Elf64_Ehdr) && !memcmp(head, ELFMAG, SELFMAG))
		return get_le16(head + 18) == EM_RISCV;
	return len >= 64 && !memcmp(head + 0x30, "RISCV\0\0", 8);
}

static int riscv64_check(const struct machine *cfg, struct fail *why)
{
	bool irqchip = false;

	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		const struct machine_device *d = &cfg->devices[i];

		irqchip |= !strcmp(d->type, plic_ops.type);
		if (d->irq >= PLIC_SOURCES)
			return fail_set(why, FAIL_CORRUPT, "device %s: interrupt %u out of range",
					d->type, d->irq);
		for (uint32_t j = 0; j < i; j++)
			if (d->irq && d->irq == cfg->devices[j].irq)
				return fail_set(why, FAIL_CORRUPT,
						"devices %s and %s: duplicate interrupt %u",
						d->type, cfg->devices[j].type, d->irq);
	}
	return irqchip ? 0 : fail_set(why, FAIL_CORRUPT, "machine: missing interrupt controller");
}

static void riscv64_irq(struct board *b, uint32_t irq, bool level)
{
	plic_line(b->irqchip, irq, level);
}

const struct board_ops board_riscv64 = {
	.machines = riscv64_machines,
	.cpus_max = PLIC_HARTS_MAX,
	.kernel   = riscv64_kernel,
	.plan     = riscv64_plan,
	.check    = riscv64_check,
	.bootable = riscv64_bootable,
	.boot     = riscv64_boot,
	.irq      = riscv64_irq,
	.irqchip  = &plic_ops,
};
