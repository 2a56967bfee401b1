# board: the machine around the CPUs.
#   list              the machine types
#   board             the devices of a VM: opened, reached, paused, reset
#   plan              addresses, slots and interrupts for what the user asked for: what machine types have in common
#   kernel, place     ELF kernels bounded; what is booted, into RAM
#   riscv64           riscv64-1: interrupt wiring; riscv64_plan: its addresses; riscv64_kernel: ELF files and Linux Images told
#                     apart and bounded; riscv64_boot: kernel, initrd and device tree into RAM; riscv64_fdt: the guest's device tree
board_SRCS := list.c board.c plan.c kernel.c place.c riscv64.c riscv64_plan.c riscv64_kernel.c riscv64_boot.c riscv64_fdt.c
