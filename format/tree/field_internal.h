/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_FIELD_INTERNAL_H
#define FORMAT_TREE_FIELD_INTERNAL_H

#include "format/tree/field.h"

/* What field_*.c share; not for other folders. */

#define FIELD_NAME_MAX 64

/* Bytes of one element in the struct, and in the tree. */
size_t field_width(const struct field *f);
size_t field_cell_bytes(const struct field *f);

/* The property's name: the member's with '_' as '-', and "saved-" before it where device trees
 * give the plain name a meaning of their own ("status"). */
void field_property(const struct field *f, char out[FIELD_NAME_MAX]);

/* The number of elements that a list's member says are in use, unchecked; and puts it. */
uint32_t field_used(const struct field *f, const void *s);
void field_use(const struct field *f, void *s, uint32_t n);

/* Puts element i of a numeric field. */
void field_put(const struct field *f, void *s, uint32_t i, uint64_t value);

/* A section's node name: a table's name, maybe '@' and a hexadecimal number; false: not of that
 * form. */
bool field_unit(const char *node, bool *has_unit, uint32_t *unit);

/* One value against its row's bounds. 0, or -1 with *why, which has the valid range. */
int field_bounds(const struct field *f, uint32_t i, uint64_t value, struct fail *why);

#endif
