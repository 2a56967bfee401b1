/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_PROPERTIES_H
#define VMINSPECT_PROPERTIES_H

#include "format/tree/field.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* How a property of the VM tree reads: by docs/format.md, 8, or by the row of its part's state table. */
enum known_kind { KNOWN_NOT, KNOWN_STR, KNOWN_U32, KNOWN_X32, KNOWN_U64, KNOWN_X64, KNOWN_BYTES, KNOWN_FLAG };

struct known {
	enum known_kind     kind;
	const struct field *row;       /* of a state table, else NULL */
};

/* A value that is not as long as its kind is KNOWN_NOT. part: the table of the part it stands in, else NULL. */
struct known known_property(const struct state_table *part, const char *name, const uint8_t *value, int len);

/* Element i of a number of 4 or 8 bytes an element. */
uint64_t known_value(struct known k, const uint8_t *value, int i);
unsigned known_width(struct known k);          /* 4, 8; 1 for the others */
bool known_hex(struct known k);

/* Walks a checked tree (tree_open) in its order. depth: 0 is the root. part: table of a part's node; stray: the node stands
 * where a part does, and this build knows none of its name. NULL calls are left out. */
struct known_visit {
	void (*node)(void *arg, int depth, const char *name, const struct state_table *part, bool stray);
	void (*prop)(void *arg, int depth, const char *name, const uint8_t *value, int len, struct known k);
	void (*end)(void *arg, int depth);
};
void known_walk(const void *fdt, const struct known_visit *v, void *arg);

/* Paths of what this build does not know in the tree: a new array of text, NULL when out of memory. */
json_t *known_strays(const void *fdt);

#endif
