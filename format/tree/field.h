/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_FIELD_H
#define FORMAT_TREE_FIELD_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a device or vCPU keeps across a save is a struct of its own with one table of fields. The
 * table serves save, load, comparison, text, JSON and the fuzzers; a new field is a new row.
 *
 * In the VM tree a table is a node (docs/format.md 8, "State nodes"): properties "version" and
 * "needs" (one cell each), then a property a row, named as the member with '_' as '-' ("saved-"
 * before a name that every device tree reserves, such as status); a node with a unit address also
 * has that in "reg". Numbers are big-endian cells: BOOL, U8, U16 and U32 one cell, U64 two, arrays
 * one after the other; BYTES raw; STR with its NUL.
 *
 * A list is an array, or BYTES, of which as many elements are saved as are used. The struct has
 * their number in a member of its own, which is not saved: the length of the property gives it.
 * Lists that belong together share that member. */

enum field_type {
	FIELD_END,
	FIELD_BOOL,
	FIELD_U8,
	FIELD_U16,
	FIELD_U32,
	FIELD_U64,
	FIELD_BYTES,
	FIELD_STR,
};

enum field_show {
	SHOW_DEC,
	SHOW_HEX,
};

/**
 * struct field - a row: one member of the struct, made by the F_ macros below
 * @name:   the member's
 * @type:   and of the elements of an array
 * @show:   how people read the number
 * @since:  table version that brought it. A node of an older version has no such property, and the
 *          member keeps its reset value
 * @count:  elements of an array, bytes of BYTES and STR, 1 for a scalar; of a list: at most
 * @offset: of the member in the struct, bytes
 * @used_width:  list: bytes of the member that has the number of elements; 0: no list
 * @used_offset: list: its offset in the struct
 * @min:    smallest valid value of each element; ignored for BYTES and STR
 * @max:    largest
 */
struct field {
	const char     *name;
	enum field_type type;
	enum field_show show;
	uint32_t        since;
	uint32_t        count;
	size_t          offset;
	uint32_t        used_width;
	size_t          used_offset;
	uint64_t        min, max;
};

/**
 * struct state_table - the fields of one struct
 * @name:    "virtio-rng": node name without unit address; key of state_table_find
 * @version: what this build writes, 1 or more
 * @needs:   lowest table version that a reader must know to read what this build writes
 * @oldest:  oldest version that this build reads
 * @size:    of the struct, bytes
 * @fields:  rows, FIELD_END at the end
 * @check:   relations between fields: 0, or -1 with FAIL_CORRUPT. The struct is complete, each
 *           field within its bounds. NULL: none
 */
struct state_table {
	const char         *name;
	uint32_t            version;
	uint32_t            needs;
	uint32_t            oldest;
	size_t              size;
	const struct field *fields;
	int (*check)(const void *s, struct fail *why);
};

/* The member's C type is checked at compile time: F_U64 on a uint32_t does not compile.
 * mx: largest accepted. */
#define FIELD_ROW_(st, m, ct, ft, sh, sv, mn, mx)                                          \
	{ .name = #m, .type = (ft), .show = (sh), .since = (sv), .count = 1, .min = (mn),  \
	  .max = (mx), .offset = _Generic(((st *)0)->m, ct: offsetof(st, m)) }
#define FIELD_ROWS_(st, m, ct, ft, sh, sv, mn, mx)                                         \
	{ .name = #m, .type = (ft), .show = (sh), .since = (sv),                           \
	  .count = sizeof(((st *)0)->m) / sizeof(((st *)0)->m[0]), .min = (mn),            \
	  .max = (mx), .offset = _Generic(&((st *)0)->m[0], ct *: offsetof(st, m)) }

#define FIELD_LIST_(st, m, u, ct, ft, sh, sv, mx)                                          \
	{ .name = #m, .type = (ft), .show = (sh), .since = (sv),                           \
	  .count = sizeof(((st *)0)->m) / sizeof(((st *)0)->m[0]), .max = (mx),            \
	  .offset = _Generic(&((st *)0)->m[0], ct *: offsetof(st, m)),                     \
	  .used_width = _Generic(((st *)0)->u, uint8_t: 1, uint32_t: 4),                   \
	  .used_offset = offsetof(st, u) }

#define F_BOOL(st, m, sv)          FIELD_ROW_(st, m, bool, FIELD_BOOL, SHOW_DEC, sv, 0, 1)
#define F_U8(st, m, sv, mx)        FIELD_ROW_(st, m, uint8_t, FIELD_U8, SHOW_DEC, sv, 0, mx)
#define F_U16(st, m, sv, mx)       FIELD_ROW_(st, m, uint16_t, FIELD_U16, SHOW_DEC, sv, 0, mx)
#define F_U32(st, m, sv, mx)       FIELD_ROW_(st, m, uint32_t, FIELD_U32, SHOW_DEC, sv, 0, mx)
#define F_U64(st, m, sv, mx)       FIELD_ROW_(st, m, uint64_t, FIELD_U64, SHOW_DEC, sv, 0, mx)
#define F_X8(st, m, sv, mx)        FIELD_ROW_(st, m, uint8_t, FIELD_U8, SHOW_HEX, sv, 0, mx)
#define F_X16(st, m, sv, mx)       FIELD_ROW_(st, m, uint16_t, FIELD_U16, SHOW_HEX, sv, 0, mx)
#define F_X32(st, m, sv, mx)       FIELD_ROW_(st, m, uint32_t, FIELD_U32, SHOW_HEX, sv, 0, mx)
#define F_X64(st, m, sv, mx)       FIELD_ROW_(st, m, uint64_t, FIELD_U64, SHOW_HEX, sv, 0, mx)
#define F_U8_ARRAY(st, m, sv, mx)  FIELD_ROWS_(st, m, uint8_t, FIELD_U8, SHOW_DEC, sv, 0, mx)
#define F_U32_ARRAY(st, m, sv, mx) FIELD_ROWS_(st, m, uint32_t, FIELD_U32, SHOW_DEC, sv, 0, mx)
#define F_X32_ARRAY(st, m, sv, mx) FIELD_ROWS_(st, m, uint32_t, FIELD_U32, SHOW_HEX, sv, 0, mx)
#define F_X64_ARRAY(st, m, sv, mx) FIELD_ROWS_(st, m, uint64_t, FIELD_U64, SHOW_HEX, sv, 0, mx)
#define F_BYTES(st, m, sv)         FIELD_ROWS_(st, m, uint8_t, FIELD_BYTES, SHOW_HEX, sv, 0, 0)
#define F_STR(st, m, sv)           FIELD_ROWS_(st, m, char, FIELD_STR, SHOW_DEC, sv, 0, 0)
/* Lists: member u of the struct, a uint8_t or uint32_t, has the number of elements in use. */
#define F_U32_LIST(st, m, u, sv, mx) FIELD_LIST_(st, m, u, uint32_t, FIELD_U32, SHOW_DEC, sv, mx)
#define F_X32_LIST(st, m, u, sv, mx) FIELD_LIST_(st, m, u, uint32_t, FIELD_U32, SHOW_HEX, sv, mx)
#define F_X64_LIST(st, m, u, sv, mx) FIELD_LIST_(st, m, u, uint64_t, FIELD_U64, SHOW_HEX, sv, mx)
#define F_BYTES_LIST(st, m, u, sv)   FIELD_LIST_(st, m, u, uint8_t, FIELD_BYTES, SHOW_HEX, sv, 0)
#define F_END                      { .type = FIELD_END }

/**
 * struct state_section - one node under the `state` node of a device, a CPU or the VM
 * @node:  "virtio-rng", "virtqueue@0": the table's name, then @ and a hexadecimal number where
 *         there are several
 * @table: its fields
 * @s:     the struct that it is saved from and loaded into
 */
struct state_section {
	char                      node[32];
	const struct state_table *table;
	void                     *s;
};

/**
 * state_save - write a struct as a node: begin, properties, end
 * @t:    table
 * @s:    struct
 * @node: name
 * @fdt:  in fdt_sw's sequential mode
 * @why:  FAIL_REFUSED: a value that a load would refuse; FAIL_LIMIT: fdt is full; FAIL_USAGE: @node
 *        is no name of a section
 */
int state_save(const struct state_table *t, const void *s, const char *node, void *fdt,
	       struct fail *why);

/**
 * state_load - read a node into a struct, all of it or nothing
 * @t:       table
 * @s:       struct; after a failure as it was. A field that the node's version does not have keeps
 *           the value it has here, so the caller resets it first
 * @fdt:     a checked tree (tree_open)
 * @node:    offset of the node
 * @where:   the owner, for messages: "virtio-blk@10001000"
 * @unknown: out, properties that no row names; NULL: not wanted
 * @why:     FAIL_CORRUPT: a value is missing that its version has, of another length, or out of
 *           bounds, or lists that share their number of elements differ in it;
 *           FAIL_VERSION: a version below oldest, or `needs` above ours
 */
int state_load(const struct state_table *t, void *s, const void *fdt, int node, const char *where,
	       unsigned *unknown, struct fail *why);

/* The first row whose values differ, its index within an array in *element; NULL: all are equal.
 * Lists of different lengths differ behind the shorter one's end. */
const struct field *state_differs(const struct state_table *t, const void *a, const void *b,
				  uint32_t *element);

/* Elements of a field that s has: @count, of a list those in use, at most @count. */
uint32_t state_elements(const struct field *f, const void *s);
/* Element i of a numeric field (BOOL to U64) of s. */
uint64_t state_value(const struct field *f, const void *s, uint32_t i);

/* All rows as a JSON object, keys as the members; a new reference, NULL when out of memory.
 * Numbers, but as text what JSON readers would round: SHOW_HEX rows ("0x1f") and decimals above
 * INT64_MAX; BYTES as hexadecimal text. */
struct json_t;
struct json_t *state_json(const struct state_table *t, const void *s);

/* The row that a property of a section's node is ("saved-status" is the row status), NULL for
 * none. */
const struct field *state_field_find(const struct state_table *t, const char *property);

/* The table of a section's node name ("virtqueue@1" gives virtqueue's); NULL: unknown. */
const struct state_table *state_table_find(const char *node);
/* Every table, NULL at the end: format/state/state_tables.c. */
extern const struct state_table *const state_tables[];

#endif
