/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_REGS_H
#define VMINSPECT_REGS_H

#include "format/tree/field.h"
#include "vminspect/open_snapshot.h"

#include <jansson.h>
#include <stdint.h>

/* What the regs command is made of: a file for each kind of CPU. */

struct regs_cpu {
	const struct snapshot_view *view;
	uint32_t                    n;
	int                         node;      /* in the tree of state */
	json_t                     *list;      /* NULL: print it */
};

/* Prints the CPU, or appends it to its list. */
int regs_riscv(const struct regs_cpu *cpu, struct fail *why);
int regs_x86(const struct regs_cpu *cpu, struct fail *why);

/* Loads sections of the CPU's state; into[i] points to a zeroed struct of tables[i]. */
int regs_load(const struct regs_cpu *cpu, const struct state_table *const *tables,
	      void *const *into, size_t ntables, struct fail *why);
/* Takes v, which may be NULL (out of memory). */
int regs_set(json_t *o, const char *key, json_t *v, struct fail *why);

#endif
