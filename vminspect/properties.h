/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_PROPERTIES_H
#define VMINSPECT_PROPERTIES_H

#include "format/tree/field.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* How a property of the VM tree reads: by docs/format.md 8, or by the row of its section's state
 * table. */
enum property_kind {
	PROPERTY_NOT,      /* unknown, or not as long as what it should be */
	PROPERTY_STR,
	PROPERTY_U32,
	PROPERTY_X32,      /* in hexadecimal */
	PROPERTY_U64,
	PROPERTY_X64,
	PROPERTY_BYTES,
	PROPERTY_FLAG,
};

struct property {
	enum property_kind  kind;
	const struct field *row;       /* of a state table, else NULL */
};

/* section: the state table of the node, NULL where it is none of a state section. */
struct property property_of(const struct state_table *section, const char *name,
			    const uint8_t *value, int len);

/* Element i of a number of 4 or 8 bytes an element. */
uint64_t property_value(struct property p, const uint8_t *value, int i);
unsigned property_width(struct property p);          /* 4, 8; 1 for the others */
bool property_is_hex(struct property p);

/* Walks a checked tree (tree_open) in its order. depth: 0 is the root. section: state table of the
 * node, else NULL; unknown: the node is a state section that this build does not know. NULL calls
 * are left out. */
struct property_visit {
	void (*node)(void *arg, int depth, const char *name, const struct state_table *section,
		     bool unknown);
	void (*prop)(void *arg, int depth, const char *name, const uint8_t *value, int len,
		     struct property p);
	void (*end)(void *arg, int depth);
};
void properties_walk(const void *fdt, const struct property_visit *v, void *arg);

/* Paths of what this build does not know in the two trees, configuration and state: a new array of
 * text, NULL when out of memory. */
json_t *properties_unknown(void *const trees[2]);

#endif
