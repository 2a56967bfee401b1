/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_MACHINE_TYPE_H
#define FORMAT_TREE_MACHINE_TYPE_H

#include <stdbool.h>
#include <stdint.h>

/* What there is to know of a machine type, as data. A new type is a constant here and a row of
 * machine_type.c; nothing else in format/ and no tool asks which type a machine is. Its devices
 * and their addresses are a row in its board's plan, vmrun/board/NAME/NAME_plan.c.
 *
 * What depends on the kind of CPU alone (an accelerator, how registers print) goes by `cpu`, so
 * that a further type of the same CPU needs none of it. */

enum machine_type { MACHINE_RISCV64_1, MACHINE_X86_64_1, MACHINE_TYPES };
enum machine_cpu { MACHINE_CPU_RISCV64, MACHINE_CPU_X86_64, MACHINE_CPUS };

/* State sections that belong to something: one without a number, NAME@0 to NAME@(count - 1), or one
 * for each CPU. The list ends with table NULL. */
#define SECTION_EACH_CPU UINT32_MAX
#define SECTION_RULES    8u
struct section_rule {
	const struct state_table *table;
	uint32_t                  count;      /* 0: one without a number */
};
#define SECTION(t)     { .table = &t##_state_table }
#define SECTIONS(t, n) { .table = &t##_state_table, .count = (n) }

struct machine_type_info {
	/* "riscv64-1"; root is compatible with "vmferry,NAME" */
	const char      *name;
	enum machine_cpu cpu;
	uint32_t         elf_machine;         /* e_machine of <elf.h>: a snapshot's `arch` */
	const char      *arch;                /* for people: "riscv64" */
	const char      *qemu_target;         /* QMP's "target" */
	const char      *cpu_compatible;      /* of a /cpus node */
	const char      *cpu_model_property;  /* where struct machine's cpu_model is there */
	/* when none is asked for; NULL: the accelerator's choice */
	const char      *cpu_model;
	uint64_t         timebase_hz;         /* of the guest's clock; 0: the host's TSC decides */
	/* CPUID, MSRs and XSAVE area are part of the machine */
	bool             cpuid;
	/* no device is the interrupt controller: the accelerator is */
	bool             accel_irqchip;
	/* RAM is region 0 from ram_gpa on. Where ram_low_max is not 0, what is above so many bytes
	 * is a region of its own, from ram_high_gpa on. */
	uint64_t         ram_gpa, ram_min, ram_low_max, ram_high_gpa;
	/* Required state of the VM and of each CPU; that of devices is below. */
	struct section_rule vm_sections[SECTION_RULES], cpu_sections[SECTION_RULES];
};
extern const struct machine_type_info machine_types[MACHINE_TYPES];

/* Required state of each type of device: format/state/state_tables.c, type NULL at the end. */
struct device_sections {
	const char         *type;             /* machine_device.type */
	struct section_rule sections[SECTION_RULES];
};
extern const struct device_sections device_sections[];

/* "riscv64-1"; "unknown" for what is no type. */
const char *machine_type_name(enum machine_type type);

/* The type's `arch` for a snapshot's header field; "unknown". */
const char *machine_arch_name(uint32_t elf_machine);

#endif
