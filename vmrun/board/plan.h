/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_PLAN_H
#define VMRUN_BOARD_PLAN_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"
#include "vmrun/board/board.h"
#include "vmrun/devices/device_list.h"

/* What the boards' plans have in common. They keep what the configuration has already. */

/* A device that a machine type has of its own. Lists of them end with ops NULL. */
struct plan_device {
	const struct device_ops *ops;
	uint64_t                 gpa, size;
	uint32_t                 irq;      /* 0: none */
	const char              *host;     /* its host resource; NULL: none */
};

/* The machine type's own devices, before what the user asked for, so that they are reset and loaded
 * first. cfg's type is one of machines. */
int plan_fixed(struct machine *cfg, const struct board_machine *machines, struct fail *why);
/* A host resource "console" of "none", unless there is one. */
int plan_console(struct machine *cfg, struct fail *why);
/* The lowest free slot below slots, for a device that has none. */
int plan_slot(const struct machine *cfg, struct machine_device *d, uint32_t slots,
	      struct fail *why);
/* Name and page size. */
void plan_ram(struct machine_region *r, const char *name);

#endif
