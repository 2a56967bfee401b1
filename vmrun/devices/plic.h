/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_PLIC_H
#define VMRUN_DEVICES_PLIC_H

#include "vmrun/devices/device.h"

/* SiFive's PLIC with a supervisor context a hart (numbers 2N + 1, as on QEMU's virt); the machine
 * contexts between them read as zero. Its outputs are the harts' IRQ_S_EXT lines. */

#define PLIC_HARTS_MAX 32u     /* each is a state section */
#define PLIC_WINDOW    0x600000u

/* A level line into it; with the machine lock. Out of range, or 0: ignored. */
void plic_line(struct device *d, uint32_t irq, bool level);

#endif
