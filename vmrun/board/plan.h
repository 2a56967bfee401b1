/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_PLAN_H
#define VMRUN_BOARD_PLAN_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

/* What the boards' plans have in common. What is there already stays as it is. */

/* The machine type's own devices, in front of what the user asked for: they are reset and loaded
 * before. */
int plan_fixed(struct machine *cfg, const struct machine_device *rows, size_t nrows,
	       struct fail *why);
/* A host resource "console" that goes nowhere. */
int plan_console(struct machine *cfg, struct fail *why);
/* The lowest free slot below slots, for a device that has none. */
int plan_slot(const struct machine *cfg, struct machine_device *d, uint32_t slots,
	      struct fail *why);
/* Name and page size. */
void plan_ram(struct machine_region *r, const char *name);

#endif
