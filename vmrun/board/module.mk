# SPDX-License-Identifier: MIT
# board: the machine around the CPUs.
#   board_list      the boards, each of one or more machine types
#   board           the devices of a VM: opened, reached, paused, reset
#   plan            addresses, slots and interrupts for what the user asked for: what machine types
#                   have in common
#   kernel, place   ELF kernels bounded; what is booted, into RAM
# riscv64/:
#   riscv64         interrupt wiring
#   riscv64_plan    its machine types: devices and their addresses
#   riscv64_kernel  ELF files and Linux Images told apart and bounded
#   riscv64_boot    kernel, initrd and device tree into RAM
#   riscv64_fdt     the guest's device tree
# x86_64/:
#   x86_64          interrupt wiring
#   x86_64_plan     its machine types: devices and their addresses
#   x86_64_kernel   bzImages and ELF files told apart and bounded
#   x86_64_boot     the zero page, what else Linux is started with; x86_64_pvh: hvm_start_info
#   acpi            the guest's ACPI tables; acpi_tables: FADT, FACS, MADT; acpi_dsdt: devices;
#                   aml: ACPI's byte code
board_riscv64_SRCS := riscv64.c riscv64_plan.c riscv64_kernel.c riscv64_boot.c riscv64_fdt.c
board_x86_64_SRCS  := x86_64.c x86_64_plan.c x86_64_kernel.c x86_64_boot.c x86_64_pvh.c acpi.c \
		      acpi_tables.c acpi_dsdt.c aml.c
board_SRCS := board_list.c board.c plan.c kernel.c place.c \
	      $(addprefix riscv64/,$(board_riscv64_SRCS)) \
	      $(addprefix x86_64/,$(board_x86_64_SRCS))
