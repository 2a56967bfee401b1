/* SPDX-License-Identifier: MIT */
#include "vmrun/board/kernel.h"

#include <inttypes.h>
#include <string.h>

bool kernel_fits(const struct kernel_file *f, uint64_t gpa, uint64_t len)
{
	return gpa >= f->ram && gpa - f->ram <= f->ram_size && len <= f->ram_size - (gpa - f->ram);
}

bool kernel_is_elf(const struct kernel_file *f)
{
	return f->len >= SELFMAG && !memcmp(f->data, ELFMAG, SELFMAG);
}

int kernel_elf_open(struct kernel_elf *e, const struct kernel_file *f, struct fail *why)
{
	Elf64_Ehdr h;
	Elf32_Ehdr n;
	size_t     entsize, row;

	*e = (struct kernel_elf){ .file = f, .wide = f->len > EI_CLASS &&
				  f->data[EI_CLASS] == ELFCLASS64 };
	if (f->len < (e->wide ? sizeof(h) : sizeof(n)))
		return fail_set(why, FAIL_CORRUPT, "kernel: truncated ELF header");
	if ((!e->wide && f->data[EI_CLASS] != ELFCLASS32) || f->data[EI_DATA] != ELFDATA2LSB)
		return fail_set(why, FAIL_USAGE, "kernel: big-endian ELF not supported");
	if (e->wide) {
		memcpy(&h, f->data, sizeof(h));
		e->machine = h.e_machine;
		e->entry   = h.e_entry;
		e->phoff   = h.e_phoff;
		e->phnum   = h.e_phnum;
		entsize    = h.e_phentsize;
		row        = sizeof(Elf64_Phdr);
	} else {
		memcpy(&n, f->data, sizeof(n));
		e->machine = n.e_machine;
		e->entry   = n.e_entry;
		e->phoff   = n.e_phoff;
		e->phnum   = n.e_phnum;
		entsize    = n.e_phentsize;
		row        = sizeof(Elf32_Phdr);
	}
	if (entsize != row || e->phoff > f->len || e->phnum * (uint64_t)row > f->len - e->phoff)
		return fail_set(why, FAIL_CORRUPT,
			"kernel: truncated: ELF program headers extend past the end of the file");
	return 0;
}

uint64_t kernel_elf_header(const struct kernel_elf *e, unsigned i, Elf64_Phdr *out)
{
	uint64_t   at = e->phoff + i * (e->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr));
	Elf32_Phdr n;

	if (e->wide) {
		memcpy(out, e->file->data + at, sizeof(*out));
		return at;
	}
	memcpy(&n, e->file->data + at, sizeof(n));
	*out = (Elf64_Phdr){ .p_type = n.p_type, .p_flags = n.p_flags, .p_offset = n.p_offset,
			     .p_vaddr = n.p_vaddr, .p_paddr = n.p_paddr,
			     .p_filesz = n.p_filesz, .p_memsz = n.p_memsz, .p_align = n.p_align };
	return at;
}

static int kernel_elf_segment(struct kernel *k, const struct kernel_elf *e, unsigned i,
			      struct fail *why)
{
	const struct kernel_file *f = e->file;
	Elf64_Phdr                p;
	uint64_t                  at = kernel_elf_header(e, i, &p);

	if (p.p_type != PT_LOAD || p.p_memsz == 0)
		return 0;
	if (p.p_filesz > p.p_memsz || p.p_offset > f->len || p.p_filesz > f->len - p.p_offset)
		return fail_at(why, FAIL_CORRUPT, at,
				"kernel: truncated: ELF segment extends past the end of the file");
	if (!kernel_fits(f, p.p_paddr, p.p_memsz))
		return fail_at(why, FAIL_USAGE, at,
			       "kernel: does not fit into RAM: %" PRIu64 " KiB at 0x%" PRIx64
			       " (RAM: 0x%" PRIx64 ", %" PRIu64 " MiB)",
			       (uint64_t)(p.p_memsz / 1024 + (p.p_memsz % 1024 != 0)),
			       (uint64_t)p.p_paddr, f->ram, f->ram_size >> 20);
	if (k->nsegments == KERNEL_SEGMENTS_MAX)
		return fail_at(why, FAIL_LIMIT, at,
				"kernel: number of ELF segments exceeds the limit of %u",
				KERNEL_SEGMENTS_MAX);
	k->segments[k->nsegments++] = (struct kernel_segment){
		.gpa = p.p_paddr, .at = (size_t)p.p_offset, .len = (size_t)p.p_filesz,
		.zero = p.p_memsz - p.p_filesz,
	};
	if (p.p_paddr < k->lo)
		k->lo = p.p_paddr;
	if (p.p_paddr + p.p_memsz > k->hi)
		k->hi = p.p_paddr + p.p_memsz;
	return 0;
}

int kernel_elf_load(struct kernel *k, const struct kernel_elf *e, struct fail *why)
{
	k->lo = UINT64_MAX;
	for (unsigned i = 0; i < e->phnum; i++)
		if (kernel_elf_segment(k, e, i, why))
			return -1;
	if (k->nsegments == 0)
		return fail_set(why, FAIL_CORRUPT, "kernel: ELF file without loadable segments");
	return 0;
}

int kernel_elf_entry(struct kernel *k, uint64_t entry, struct fail *why)
{
	if (entry < k->lo || entry >= k->hi)
		return fail_set(why, FAIL_USAGE,
				"kernel: invalid ELF entry point 0x%" PRIx64
				": not in a loaded segment", entry);
	k->entry = entry;
	return 0;
}
