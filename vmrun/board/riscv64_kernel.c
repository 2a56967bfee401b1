#include "vmrun/board/riscv64.h"

#include "libcommon/bytes.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#define IMAGE_HEADER 64u
#define IMAGE_ALIGN  0x200000u

/* [gpa, gpa + len) within RAM, without overflow. */
static bool kernel_fits(uint64_t gpa, uint64_t len, uint64_t ram, uint64_t ram_size)
{
	return gpa >= ram && gpa - ram <= ram_size && len <= ram_size - (gpa - ram);
}

static int kernel_elf_segment(struct kernel *k, const uint8_t *data, size_t len, uint64_t at, uint64_t ram, uint64_t ram_size,
			      struct fail *why)
{
	Elf64_Phdr p;

	memcpy(&p, data + at, sizeof(p));
	if (p.p_type != PT_LOAD || p.p_memsz == 0)
		return 0;
	if (p.p_filesz > p.p_memsz || p.p_offset > len || p.p_filesz > len - p.p_offset)
		return fail_at(why, FAIL_CORRUPT, at, "kernel: an ELF segment lies outside of the file");
	if (!kernel_fits(p.p_paddr, p.p_memsz, ram, ram_size))
		return fail_at(why, FAIL_USAGE, at,
			       "kernel: a segment of %" PRIu64 " KiB at 0x%" PRIx64 " does not fit into RAM (0x%" PRIx64 ", %" PRIu64 " MiB)",
			       (uint64_t)(p.p_memsz / 1024 + (p.p_memsz % 1024 != 0)), (uint64_t)p.p_paddr, ram, ram_size >> 20);
	if (k->nsegments == KERNEL_SEGMENTS_MAX)
		return fail_at(why, FAIL_LIMIT, at, "kernel: more than %u ELF segments", KERNEL_SEGMENTS_MAX);
	k->segments[k->nsegments++] = (struct kernel_segment){
		.gpa = p.p_paddr, .at = (size_t)p.p_offset, .len = (size_t)p.p_filesz, .zero = p.p_memsz - p.p_filesz,
	};
	if (p.p_paddr < k->lo)
		k->lo = p.p_paddr;
	if (p.p_paddr + p.p_memsz > k->hi)
		k->hi = p.p_paddr + p.p_memsz;
	return 0;
}

static int kernel_elf(struct kernel *k, const uint8_t *data, size_t len, uint64_t ram, uint64_t ram_size, struct fail *why)
{
	Elf64_Ehdr e;

	if (len < sizeof(e))
		return fail_set(why, FAIL_CORRUPT, "kernel: the ELF header ends early");
	memcpy(&e, data, sizeof(e));
	if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_ident[EI_DATA] != ELFDATA2LSB || e.e_machine != EM_RISCV)
		return fail_set(why, FAIL_USAGE, "kernel: this ELF file is not for 64-bit RISC-V");
	if (e.e_phentsize != sizeof(Elf64_Phdr) || e.e_phoff > len || (uint64_t)e.e_phnum * sizeof(Elf64_Phdr) > len - e.e_phoff)
		return fail_set(why, FAIL_CORRUPT, "kernel: the ELF program headers lie outside of the file");
	k->lo = UINT64_MAX;
	for (unsigned i = 0; i < e.e_phnum; i++)
		if (kernel_elf_segment(k, data, len, e.e_phoff + i * sizeof(Elf64_Phdr), ram, ram_size, why))
			return -1;
	if (k->nsegments == 0)
		return fail_set(why, FAIL_CORRUPT, "kernel: this ELF file has nothing to load");
	if (e.e_entry < k->lo || e.e_entry >= k->hi)
		return fail_set(why, FAIL_USAGE, "kernel: the entry 0x%" PRIx64 " is no physical address of what is loaded",
				(uint64_t)e.e_entry);
	k->entry = e.e_entry;
	return 0;
}

/* Documentation/arch/riscv/boot-image-header.rst */
static int kernel_image(struct kernel *k, const uint8_t *data, size_t len, uint64_t ram, uint64_t ram_size, struct fail *why)
{
	uint64_t offset = get_le64(data + 8), size = get_le64(data + 16), flags = get_le64(data + 24);

	if (flags & 1)
		return fail_set(why, FAIL_USAGE, "kernel: a big-endian Linux Image");
	if (size < len)     /* it does not count what it clears itself, or is too old to say */
		size = len;
	if (offset > UINT64_MAX - ram || (ram + offset) % IMAGE_ALIGN)
		return fail_set(why, FAIL_CORRUPT, "kernel: a Linux Image's text offset 0x%" PRIx64 " is not a multiple of 2 MiB", offset);
	if (!kernel_fits(ram + offset, size, ram, ram_size))
		return fail_set(why, FAIL_USAGE, "kernel: needs %" PRIu64 " MiB of RAM, there are %" PRIu64 " MiB (--memory)",
				(offset + size + 0xfffff) >> 20, ram_size >> 20);
	k->entry       = ram + offset;
	k->lo          = k->entry;
	k->hi          = k->entry + size;
	k->nsegments   = 1;
	k->segments[0] = (struct kernel_segment){ .gpa = k->entry, .len = len };
	return 0;
}

int kernel_parse(struct kernel *k, const uint8_t *data, size_t len, uint64_t ram, uint64_t ram_size, struct fail *why)
{
	*k = (struct kernel){ 0 };
	if (len >= SELFMAG && !memcmp(data, ELFMAG, SELFMAG))
		return kernel_elf(k, data, len, ram, ram_size, why);
	if (len >= IMAGE_HEADER && !memcmp(data + 0x30, "RISCV\0\0", 8) && !memcmp(data + 0x38, "RSC\x05", 4))
		return kernel_image(k, data, len, ram, ram_size, why);
	if (len >= 2 && data[0] == 0x1f && data[1] == 0x8b)
		return fail_set(why, FAIL_USAGE, "kernel: compressed with gzip: unpack it first");
	if (len >= 8 && !memcmp(data + 4, "zimg", 4))
		return fail_set(why, FAIL_USAGE, "kernel: a compressed EFI image: give the Image inside it");
	return fail_set(why, FAIL_USAGE, "kernel: neither a 64-bit RISC-V ELF file nor a RISC-V Linux Image");
}
