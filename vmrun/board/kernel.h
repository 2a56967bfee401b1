/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_KERNEL_H
#define VMRUN_BOARD_KERNEL_H

#include "libcommon/fail.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the segments of a kernel go. No side effects; the file is hostile. Each machine type tells
 * its formats apart (riscv64_kernel.c, x86_64_kernel.c); here is what ELF files have in common. */
#define KERNEL_SEGMENTS_MAX 32u
struct kernel_segment {
	uint64_t gpa;
	size_t   at, len;        /* in the file */
	uint64_t zero;           /* bytes to clear behind it */
};
struct kernel {
	uint64_t              entry;
	uint64_t              lo, hi;        /* what it occupies once it runs */
	unsigned              nsegments;
	struct kernel_segment segments[KERNEL_SEGMENTS_MAX];
};

/* The file, and the RAM that a kernel may use. */
struct kernel_file {
	const uint8_t *data;
	size_t         len;
	uint64_t       ram, ram_size;
};

/* [gpa, gpa + len) within that RAM, without overflow. */
bool kernel_fits(const struct kernel_file *f, uint64_t gpa, uint64_t len);

/* An ELF file, 32 or 64 bits, little endian, its program headers within the file. */
struct kernel_elf {
	const struct kernel_file *file;
	bool     wide;           /* ELF64 */
	uint16_t machine;        /* EM_* */
	uint64_t entry, phoff;
	unsigned phnum;
};
bool kernel_is_elf(const struct kernel_file *f);
int kernel_elf_open(struct kernel_elf *e, const struct kernel_file *f, struct fail *why);
/* Program header i (below phnum), widened if of 32 bits; returns its offset in the file. */
uint64_t kernel_elf_header(const struct kernel_elf *e, unsigned i, Elf64_Phdr *out);
/* Every PT_LOAD by its physical address; k is zeroed. The entry is the caller's. */
int kernel_elf_load(struct kernel *k, const struct kernel_elf *e, struct fail *why);
int kernel_elf_entry(struct kernel *k, uint64_t entry, struct fail *why);

#endif
