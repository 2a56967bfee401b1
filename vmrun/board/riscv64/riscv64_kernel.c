/* SPDX-License-Identifier: MIT */
#include "vmrun/board/riscv64/riscv64.h"

#include "libcommon/bytes.h"

#include <inttypes.h>
#include <string.h>

#define IMAGE_HEADER 64u
#define IMAGE_ALIGN  0x200000u

static int riscv64_elf(struct kernel *k, const struct kernel_file *f, struct fail *why)
{
	struct kernel_elf e;

	if (kernel_elf_open(&e, f, why))
		return -1;
	if (!e.wide || e.machine != EM_RISCV)
		return fail_set(why, FAIL_USAGE,
				"kernel: unsupported ELF machine, expected 64-bit RISC-V");
	if (kernel_elf_load(k, &e, why))
		return -1;
	return kernel_elf_entry(k, e.entry, why);
}

/* Documentation/arch/riscv/boot-image-header.rst */
static int riscv64_image(struct kernel *k, const struct kernel_file *f, struct fail *why)
{
	uint64_t offset = get_le64(f->data + 8), size = get_le64(f->data + 16);
	uint64_t flags  = get_le64(f->data + 24), ram = f->ram;

	if (flags & 1)
		return fail_set(why, FAIL_USAGE, "kernel: big-endian Linux Image not supported");
	if (size < f->len)     /* it does not count what it clears itself, or is too old to say */
		size = f->len;
	if (offset > UINT64_MAX - ram || (ram + offset) % IMAGE_ALIGN)
		return fail_set(why, FAIL_CORRUPT,
				"kernel: invalid Linux Image text offset 0x%" PRIx64
				": not a multiple of 2 MiB", offset);
	if (!kernel_fits(f, ram + offset, size))
		return fail_set(why, FAIL_USAGE,
				"kernel: does not fit into RAM: needs %" PRIu64
				" MiB, RAM has %" PRIu64 " MiB; increase --memory",
				(offset + size + 0xfffff) >> 20, f->ram_size >> 20);
	k->entry       = ram + offset;
	k->lo          = k->entry;
	k->hi          = k->entry + size;
	k->nsegments   = 1;
	k->segments[0] = (struct kernel_segment){ .gpa = k->entry, .len = f->len };
	return 0;
}

int riscv64_parse(struct kernel *k, const uint8_t *data, size_t len, uint64_t ram,
		  uint64_t ram_size, struct fail *why)
{
	const struct kernel_file f = { .data = data, .len = len, .ram = ram, .ram_size = ram_size };

	*k = (struct kernel){ 0 };
	if (kernel_is_elf(&f))
		return riscv64_elf(k, &f, why);
	if (len >= IMAGE_HEADER && !memcmp(data + 0x30, "RISCV\0\0", 8) &&
	    !memcmp(data + 0x38, "RSC\x05", 4))
		return riscv64_image(k, &f, why);
	if (len >= 2 && data[0] == 0x1f && data[1] == 0x8b)
		return fail_set(why, FAIL_USAGE,
			"kernel: gzip-compressed kernel not supported: decompress it first");
	if (len >= 8 && !memcmp(data + 4, "zimg", 4))
		return fail_set(why, FAIL_USAGE,
			"kernel: compressed EFI image not supported: use the Image inside it");
	return fail_set(why, FAIL_USAGE,
		"kernel: unsupported format (supported: 64-bit RISC-V ELF, RISC-V Linux Image)");
}
