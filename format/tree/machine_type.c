/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_type.h"

#include <elf.h>

const struct machine_type_info machine_types[MACHINE_TYPES] = {
	[MACHINE_RISCV64_1] = { .name               = "riscv64-1",
				.elf_machine        = EM_RISCV,
				.arch               = "riscv64",
				.qemu_target        = "riscv64",
				.cpu_compatible     = "riscv",
				.cpu_model_property = "riscv,isa" },
	[MACHINE_X86_64_1]  = { .name               = "x86-64-1",
				.elf_machine        = EM_X86_64,
				.arch               = "x86-64",
				.qemu_target        = "x86_64",
				.cpu_compatible     = "vmferry,x86-64",
				.cpu_model_property = "vmferry,cpu-model",
				.cpuid              = true,
				.accel_irqchip      = true },
};

const char *machine_arch_name(uint32_t elf_machine)
{
	for (unsigned i = 0; i < MACHINE_TYPES; i++)
		if (machine_types[i].elf_machine == elf_machine)
			return machine_types[i].arch;
	return "unknown";
}
