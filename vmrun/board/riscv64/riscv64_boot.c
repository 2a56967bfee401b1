/* SPDX-License-Identifier: MIT */
#include "vmrun/board/riscv64/riscv64.h"

#include "vmrun/board/place.h"
#include "vmrun/accel/accel.h"
#include "vmrun/memory.h"

#include <stdlib.h>
#include <string.h>

int riscv64_bootable(const struct machine *cfg, const struct boot_images *images, struct fail *why)
{
	const struct machine_region *ram = &cfg->regions[0];
	struct kernel                k;

	if (riscv64_append(cfg, why))
		return -1;
	return images->kernel
	       ? riscv64_parse(&k, images->kernel, images->kernel_len, ram->gpa, ram->size, why)
	       : 0;
}

int riscv64_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
		 struct fail *why)
{
	struct memory       *m   = b->host->memory;
	const struct region *ram = &m->regions[0];
	uint64_t             top = ram->cfg.gpa + ram->cfg.size, initrd = 0, dtb = 0;
	struct kernel        k;
	uint8_t             *fdt = NULL;
	size_t               fdt_len;
	int                  rc = -1;

	if (riscv64_parse(&k, images->kernel, images->kernel_len, ram->cfg.gpa, ram->cfg.size, why))
		return -1;
	/* The length of the tree does not depend on the addresses in it: a first one is made to
	 * know how much space to reserve. */
	if (board_fdt(b, top, images->initrd ? images->initrd_len : 0, &fdt, &fdt_len, why))
		goto out;
	if (boot_place(&k, ram->cfg.gpa, &top, fdt_len, &dtb, "device tree", why) ||
	    (images->initrd && boot_place(&k, ram->cfg.gpa, &top, images->initrd_len, &initrd,
					  "initrd", why)))
		goto out;
	free(fdt);
	fdt = NULL;
	if (board_fdt(b, initrd, images->initrd ? images->initrd_len : 0, &fdt, &fdt_len, why))
		goto out;

	if (boot_put_kernel(m, &k, images->kernel, why))
		goto out;
	if (images->initrd && boot_put(m, initrd, images->initrd, images->initrd_len, 0, "initrd",
				       why))
		goto out;
	if (boot_put(m, dtb, fdt, fdt_len, 0, "device tree", why))
		goto out;
	*entry = (struct boot_entry){ .how = BOOT_RISCV, .pc = k.entry, .arg = dtb };
	rc     = 0;
out:
	if (fdt)
		explicit_bzero(fdt, fdt_len);     /* seeds */
	free(fdt);
	return rc;
}
