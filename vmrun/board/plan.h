/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_PLAN_H
#define VMRUN_BOARD_PLAN_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

/* What the boards' plans have in common. They keep what the configuration has already. */

/* The machine type's own devices, before what the user asked for, so that they are reset and loaded
 * first. */
int plan_fixed(struct machine *cfg, const struct machine_device *rows, size_t nrows,
	       struct fail *why);
/* A host resource "console" of "none", unless there is one. */
int plan_console(struct machine *cfg, struct fail *why);
/* The lowest free slot below slots, for a device that has none. */
int plan_slot(const struct machine *cfg, struct machine_device *d, uint32_t slots,
	      struct fail *why);
/* Name and page size. */
void plan_ram(struct machine_region *r, const char *name);

#endif
