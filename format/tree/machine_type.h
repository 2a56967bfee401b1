/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_MACHINE_TYPE_H
#define FORMAT_TREE_MACHINE_TYPE_H

#include <stdbool.h>
#include <stdint.h>

/* What there is to know of a machine type, as data: a new type is a new row of machine_type.c, and nothing else in format/ or
 * the tools asks which type a machine is. Its board is vmrun's (vmrun/board/board_list.c), its required state a row of
 * machine_sections.c. */

enum machine_type { MACHINE_RISCV64_1, MACHINE_X86_64_1, MACHINE_TYPES };

struct machine_type_info {
	const char *name;                /* "riscv64-1": the tree's root is compatible with "vmferry," and this */
	uint32_t    elf_machine;         /* e_machine of <elf.h>: a snapshot's `arch` */
	const char *arch;                /* for people: "riscv64" */
	const char *qemu_target;         /* QMP's "target" */
	const char *cpu_compatible;      /* of a /cpus node */
	const char *cpu_model_property;  /* what machine.isa is there */
	bool        cpuid;               /* CPUID, MSRs and XSAVE area are part of the machine */
	bool        accel_irqchip;       /* interrupts end in the accelerator when no device is their controller */
};
extern const struct machine_type_info machine_types[MACHINE_TYPES];

/* The type's `arch` for a snapshot's header field; "unknown". */
const char *machine_arch_name(uint32_t elf_machine);

#endif
