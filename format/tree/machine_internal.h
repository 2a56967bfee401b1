/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_MACHINE_INTERNAL_H
#define FORMAT_TREE_MACHINE_INTERNAL_H

#include "format/tree/machine.h"

/* What machine_*.c share; not for other folders. */

#define TREE_VERSION 1u      /* what this build writes in /version */
#define TREE_KNOWN   1u      /* largest /needs it reads */
#define CPUID_CELLS  7u      /* of an answer in vmferry,cpuid: leaf, index, flags, EAX to EDX */

/* Checks names and sizes, alone and against each other: before a write and after a read. */
int machine_check(const struct machine *m, struct fail *why);

/* machine_x86.c: what only an x86 machine has, and other machines must not have. */
int machine_check_x86(const struct machine *m, struct fail *why);
int machine_same_x86(const struct machine *a, const struct machine *b, struct fail *why);

/* machine_sections.c: the sections that an owner's callback gives: those that belong to it
 * (machine_required_sections). */
int machine_live_sections(const struct machine *m, const struct machine_sections *p,
		       enum machine_owner kind, uint32_t i, const char *where,
		       struct state_section list[MACHINE_SECTIONS_MAX], size_t *n,
		       struct fail *why);

/* "memory@80000000", "region@...", "disk-3": a region's node; disks have no address. */
void machine_region_node(const struct machine_region *r, char out[MACHINE_NODE_MAX]);

#endif
