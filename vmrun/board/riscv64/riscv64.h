/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_RISCV64_RISCV64_H
#define VMRUN_BOARD_RISCV64_RISCV64_H

#include "vmrun/board/board.h"
#include "vmrun/board/kernel.h"

/* The board of the RISC-V machine types, which differ in riscv64_machines (riscv64_plan.c) and
 * format/tree/machine_type.c alone. What is here is common to all and never changes. */
#define RISCV64_UART_HZ     3686400u
#define RISCV64_VIRTIO      0x10001000u       /* slot 0, then one every 0x1000 */
#define RISCV64_VIRTIO_SIZE 0x1000u
#define RISCV64_SLOTS       24u               /* 0 to 7: irq 1 to 8; 8 to 23: irq 12 to 27 */
#define RISCV64_CMDLINE_MAX 1023u             /* COMMAND_LINE_SIZE of Linux, without the NUL */

extern const struct board_ops board_riscv64;
extern const struct board_machine riscv64_machines[];

int riscv64_plan(struct machine *cfg, struct fail *why);
/* Is its command line short enough? */
int riscv64_append(const struct machine *cfg, struct fail *why);
int riscv64_bootable(const struct machine *cfg, const struct boot_images *images, struct fail *why);
int riscv64_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
		 struct fail *why);

/* The guest's device tree with fresh seeds; initrd_len 0 for none. *fdt is malloc'd. */
int board_fdt(const struct board *b, uint64_t initrd, uint64_t initrd_len, uint8_t **fdt,
	      size_t *len, struct fail *why);

/* ELF64 by physical addresses, or a Linux Image; all of it within [ram, ram + ram_size). No side
 * effects; data is hostile. */
int riscv64_parse(struct kernel *k, const uint8_t *data, size_t len, uint64_t ram,
		  uint64_t ram_size, struct fail *why);

#endif
