board_SRCS := plan.c board.c fdt.c kernel.c boot.c
