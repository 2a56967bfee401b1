/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_TREE_JSON_H
#define VMINSPECT_TREE_JSON_H

#include <jansson.h>

/* The checked tree as JSON: a node is an object, its properties and children by name (a section's
 * rows as its struct's members are named); numbers as state_json gives them, unknown properties as
 * hex text. NULL when out of memory. */
json_t *tree_json(const void *fdt);

#endif
