#include "vmrun/board/riscv64.h"

#include "vmrun/vm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int boot_put(struct vm *vm, uint64_t gpa, const uint8_t *data, size_t len, uint64_t zero, const char *what, struct fail *why)
{
	struct guest_write w;
	uint8_t           *p;

	if (len + zero == 0)
		return 0;
	p = guest_write_begin(&vm->memory, &w, gpa, len + zero);
	if (!p)
		return fail_set(why, FAIL_USAGE, "%s: no RAM at 0x%" PRIx64, what, gpa);
	if (len)
		memcpy(p, data, len);
	if (zero)
		memset(p + len, 0, (size_t)zero);
	guest_write_end(&w);
	return 0;
}

/* Room of len bytes below *top and above the kernel, or below the kernel; *top sinks to it. */
static int boot_place(const struct kernel *k, uint64_t ram, uint64_t *top, uint64_t len, uint64_t *gpa, const char *what,
		      struct fail *why)
{
	uint64_t floor = *top >= k->hi ? k->hi : ram;

	if (len > *top || ((*top - len) & ~(uint64_t)4095) < floor) {
		/* No room above: below, where a kernel at an offset leaves some. */
		if (floor == ram || len > k->lo || ((k->lo - len) & ~(uint64_t)4095) < ram)
			return fail_set(why, FAIL_USAGE, "%s: no room for %" PRIu64 " KiB in RAM beside the kernel (--memory)", what,
					(len + 1023) / 1024);
		*top = k->lo;
	}
	*gpa = *top = (*top - len) & ~(uint64_t)4095;
	return 0;
}

int riscv64_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry, struct fail *why)
{
	struct vm           *vm  = b->vm;
	const struct region *ram = &vm->memory.regions[0];
	uint64_t             top = ram->cfg.gpa + ram->cfg.size, initrd = 0, dtb = 0;
	struct kernel        k;
	uint8_t             *fdt = NULL;
	size_t               fdt_len;
	int                  rc = -1;

	if (kernel_parse(&k, images->kernel, images->kernel_len, ram->cfg.gpa, ram->cfg.size, why))
		return -1;
	/* The tree's length does not depend on where things lie: a first one tells how much room it takes. */
	if (board_fdt(b, top, images->initrd ? images->initrd_len : 0, &fdt, &fdt_len, why))
		goto out;
	if (boot_place(&k, ram->cfg.gpa, &top, fdt_len, &dtb, "device tree", why) ||
	    (images->initrd && boot_place(&k, ram->cfg.gpa, &top, images->initrd_len, &initrd, "initrd", why)))
		goto out;
	free(fdt);
	fdt = NULL;
	if (board_fdt(b, initrd, images->initrd ? images->initrd_len : 0, &fdt, &fdt_len, why))
		goto out;

	for (unsigned i = 0; i < k.nsegments; i++) {
		const struct kernel_segment *s = &k.segments[i];

		if (boot_put(vm, s->gpa, images->kernel + s->at, s->len, s->zero, "kernel", why))
			goto out;
	}
	if (images->initrd && boot_put(vm, initrd, images->initrd, images->initrd_len, 0, "initrd", why))
		goto out;
	if (boot_put(vm, dtb, fdt, fdt_len, 0, "device tree", why))
		goto out;
	*entry = (struct boot_entry){ .how = BOOT_RISCV, .pc = k.entry, .arg = dtb };
	rc     = 0;
out:
	if (fdt)
		explicit_bzero(fdt, fdt_len);     /* seeds */
	free(fdt);
	return rc;
}
