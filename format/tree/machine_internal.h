/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_MACHINE_INTERNAL_H
#define FORMAT_TREE_MACHINE_INTERNAL_H

#include "format/tree/machine.h"

/* What machine_*.c share; not for other folders. */

#define TREE_VERSION 1u      /* what this build writes in /version */
#define TREE_KNOWN   1u      /* largest /needs it reads */
#define CPUID_CELLS  7u      /* of an answer in vmferry,cpuid: leaf, index, flags, EAX to EDX */

/* Names of device types and regions become node names: no '@', no '/', and short. NUL-terminated
 * within capacity. */
#define MACHINE_WORD_MAX sizeof(((struct machine_device *)0)->type)
bool machine_word_ok(const char *s, size_t capacity);

/* Checks names and sizes, alone and against each other: before a write and after a read. */
int machine_check(const struct machine *m, struct fail *why);

/* machine_x86.c: what only an x86 machine has, and other machines must not have. */
int machine_check_x86(const struct machine *m, struct fail *why);
int machine_same_x86(const struct machine *a, const struct machine *b, struct fail *why);

/* Size, modification time and digest belong to the machine: of an image, not of a disk. */
bool machine_host_fixed(const struct machine_host *h);

/* machine_read.c: `version` and `needs` of a checked tree's root; whether a child of the root is a
 * region. */
int machine_read_versions(const void *fdt, struct fail *why);
bool machine_is_region(const void *fdt, int node);

/* machine_state.c: where m's owners are in a checked STATE tree, -1: absent. Only a device may be;
 * a CPU or a device that m does not have is refused. */
struct state_nodes {
	int vm, cpus, soc;
	int cpu[LIMIT_CPUS], device[LIMIT_DEVICES];
};
int machine_state_nodes(const struct machine *m, const void *fdt, struct state_nodes *out,
			struct fail *why);

/* Where the n sections in list are under an owner (-1: absent), each of which must be there. other:
 * out, the name of a section that is not in list; NULL: none. */
int machine_section_nodes(const void *fdt, int owner, const struct state_section *list, size_t n,
			  const char *where, int nodes[MACHINE_SECTIONS_MAX], const char **other,
			  struct fail *why);

/* machine_sections.c: the sections that an owner's callback gives: those that belong to it
 * (machine_required_sections). */
int machine_live_sections(const struct machine *m, const struct machine_sections *p,
		       enum machine_owner kind, uint32_t i, const char *where,
		       struct state_section list[MACHINE_SECTIONS_MAX], size_t *n,
		       struct fail *why);

/* "memory@80000000", "region@...", "disk-3": a region's node; disks have no address. */
void machine_region_node(const struct machine_region *r, char out[MACHINE_NODE_MAX]);

#endif
