/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_type.h"

#include "format/state/state_clock.h"
#include "format/state/state_hart.h"
#include "format/state/state_x86.h"

#include <elf.h>

/* What all types of one kind of CPU have in common. */
#define RISCV64                                       \
	.cpu                = MACHINE_CPU_RISCV64,    \
	.elf_machine        = EM_RISCV,               \
	.arch               = "riscv64",              \
	.qemu_target        = "riscv64",              \
	.cpu_compatible     = "riscv",                \
	.cpu_model_property = "riscv,isa",            \
	.cpu_sections       = { SECTION(hart) }

#define X86_64                                        \
	.cpu                = MACHINE_CPU_X86_64,     \
	.elf_machine        = EM_X86_64,              \
	.arch               = "x86-64",               \
	.qemu_target        = "x86_64",               \
	.cpu_compatible     = "vmferry,x86-64",       \
	.cpu_model_property = "vmferry,cpu-model",    \
	.cpuid              = true,                   \
	.cpu_sections       = {                       \
		SECTION(x86_regs),                    \
		SECTION(x86_sregs),                   \
		SECTION(x86_xsave),                   \
		SECTION(x86_msrs),                    \
		SECTION(x86_lapic),                   \
		SECTION(x86_events),                  \
		SECTION(x86_debugregs),               \
	}

/* A type never changes: what differs in an address, a rate or a section is another type. */
const struct machine_type_info machine_types[MACHINE_TYPES] = {
	[MACHINE_RISCV64_1] = {
		RISCV64,
		.name        = "riscv64-1",
		.cpu_model   = "rv64imafdc_zicntr_zicsr_zifencei_sstc",
		.timebase_hz = 10000000,
		.ram_gpa     = 0x80000000,
		.vm_sections = { SECTION(clock) },
	},
	[MACHINE_X86_64_1] = {
		X86_64,
		.name          = "x86-64-1",
		.accel_irqchip = true,
		.ram_min       = 4 << 20,
		.ram_low_max   = 0xc0000000,      /* between 3 and 4 GiB lie the devices */
		.ram_high_gpa  = 0x100000000,
		.vm_sections   = {
			SECTION(clock),
			SECTIONS(x86_pic, 2),
			SECTION(x86_ioapic),
			SECTION(x86_pit),
			SECTION(x86_kvmclock),
		},
	},
};

const char *machine_type_name(enum machine_type type)
{
	return (unsigned)type < MACHINE_TYPES ? machine_types[type].name : "unknown";
}

const char *machine_arch_name(uint32_t elf_machine)
{
	for (unsigned i = 0; i < MACHINE_TYPES; i++)
		if (machine_types[i].elf_machine == elf_machine)
			return machine_types[i].arch;
	return "unknown";
}
