# board: the machine around the CPUs.
#   plan     addresses, slots and interrupts for what the user asked for
#   board    the devices of a VM: opened, reached, paused, reset
#   kernel   ELF files and Linux Images told apart and bounded
#   boot     kernel, initrd and device tree into RAM
#   fdt      the guest's device tree
board_SRCS := plan.c board.c fdt.c kernel.c boot.c
