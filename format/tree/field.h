/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_FIELD_H
#define FORMAT_TREE_FIELD_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a device keeps across a save is a struct of its own with one declarative table (design.md 5). The table serves
 * save, load, comparison, text, JSON and the fuzzers; a new field is a new row.
 *
 * In the VM tree a table is a node: properties "version" and "needs" (one cell each), then a property a row, named as
 * the member with '_' as '-' ("saved-" before a name that every device tree reserves, such as status); a node with a
 * unit address also has that in "reg". Numbers are big-endian cells: BOOL, U8, U16 and U32 one cell, U64 two, arrays one
 * after the other; BYTES raw; STR with its NUL. */

enum field_type { FIELD_END, FIELD_BOOL, FIELD_U8, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_BYTES, FIELD_STR };

enum field_show {
	SHOW_DEC,
	SHOW_HEX,
};

struct field {
	const char     *name;
	enum field_type type;
	enum field_show show;
	uint32_t        since;      /* table version that brought it; absent in older: keeps its reset value */
	uint32_t        count;      /* elements of an array, bytes of BYTES and STR, 1 for a scalar */
	size_t          offset;
	uint64_t        min, max;   /* of each element; ignored for BYTES and STR */
};

struct state_table {
	const char         *name;      /* "virtio-rng": node name, unit address excluded; key of state_table_find */
	uint32_t            version;   /* what this build writes */
	uint32_t            needs;     /* lowest table version a reader must know to read what this build writes */
	uint32_t            oldest;    /* oldest version this build reads */
	size_t              size;      /* of the struct */
	const struct field *fields;
	/* Relations between fields, NULL for none; s is complete and each field within its bounds. */
	int (*check)(const void *s, struct fail *why);
};

/* The member's C type is checked at compile time: F_U64 on a uint32_t does not compile. mx: largest accepted. */
#define FIELD_ROW_(st, m, ct, ft, sh, sv, mn, mx) \
	{ .name = #m, .type = (ft), .show = (sh), .since = (sv), .count = 1, .min = (mn), .max = (mx), \
	  .offset = _Generic(((st *)0)->m, ct: offsetof(st, m)) }
#define FIELD_ROWS_(st, m, ct, ft, sh, sv, mn, mx) \
	{ .name = #m, .type = (ft), .show = (sh), .since = (sv), \
	  .count = sizeof(((st *)0)->m) / sizeof(((st *)0)->m[0]), .min = (mn), .max = (mx), \
	  .offset = _Generic(&((st *)0)->m[0], ct *: offsetof(st, m)) }

#define F_BOOL(st, m, since)             FIELD_ROW_(st, m, bool, FIELD_BOOL, SHOW_DEC, since, 0, 1)
#define F_U8(st, m, since, max)          FIELD_ROW_(st, m, uint8_t, FIELD_U8, SHOW_DEC, since, 0, max)
#define F_U16(st, m, since, max)         FIELD_ROW_(st, m, uint16_t, FIELD_U16, SHOW_DEC, since, 0, max)
#define F_U32(st, m, since, max)         FIELD_ROW_(st, m, uint32_t, FIELD_U32, SHOW_DEC, since, 0, max)
#define F_U64(st, m, since, max)         FIELD_ROW_(st, m, uint64_t, FIELD_U64, SHOW_DEC, since, 0, max)
#define F_X8(st, m, since, max)          FIELD_ROW_(st, m, uint8_t, FIELD_U8, SHOW_HEX, since, 0, max)
#define F_X16(st, m, since, max)         FIELD_ROW_(st, m, uint16_t, FIELD_U16, SHOW_HEX, since, 0, max)
#define F_X32(st, m, since, max)         FIELD_ROW_(st, m, uint32_t, FIELD_U32, SHOW_HEX, since, 0, max)
#define F_X64(st, m, since, max)         FIELD_ROW_(st, m, uint64_t, FIELD_U64, SHOW_HEX, since, 0, max)
#define F_U8_ARRAY(st, m, since, max)    FIELD_ROWS_(st, m, uint8_t, FIELD_U8, SHOW_DEC, since, 0, max)
#define F_U32_ARRAY(st, m, since, max)   FIELD_ROWS_(st, m, uint32_t, FIELD_U32, SHOW_DEC, since, 0, max)
#define F_X32_ARRAY(st, m, since, max)   FIELD_ROWS_(st, m, uint32_t, FIELD_U32, SHOW_HEX, since, 0, max)
#define F_X64_ARRAY(st, m, since, max)   FIELD_ROWS_(st, m, uint64_t, FIELD_U64, SHOW_HEX, since, 0, max)
#define F_BYTES(st, m, since)            FIELD_ROWS_(st, m, uint8_t, FIELD_BYTES, SHOW_HEX, since, 0, 0)
#define F_STR(st, m, since)              FIELD_ROWS_(st, m, char, FIELD_STR, SHOW_DEC, since, 0, 0)
#define F_END                            { .type = FIELD_END }

/* One node under a device's or CPU's `state` node: a table and where the live struct is. */
struct state_section {
	char                      node[32];   /* "virtio-rng", "virtqueue@0": table name, then @ and a hex number if several */
	const struct state_table *table;
	void                     *s;
};

/* Writes the node `node` (begin, properties, end) into fdt, which is in fdt_sw's sequential mode. FAIL_LIMIT when fdt is full. */
int state_save(const struct state_table *t, const void *s, const char *node, void *fdt, struct fail *why);

/* Reads the node at offset `node` of a checked fdt into s. All or nothing: a value missing that its version has, one of
 * another length or out of bounds, a version below oldest or a `needs` above ours leaves s untouched. A field the
 * node's version does not have keeps the value s holds on entry (the caller resets it first). `where` names the
 * device in messages ("virtio-blk@10001000"). unknown (may be NULL) counts properties no row names. */
int state_load(const struct state_table *t, void *s, const void *fdt, int node, const char *where, unsigned *unknown, struct fail *why);

/* The first row whose values differ, its index within an array in *element, or NULL when all are equal. */
const struct field *state_differs(const struct state_table *t, const void *a, const void *b, uint32_t *element);

/* Element i of a numeric field (BOOL to U64) of s. */
uint64_t state_value(const struct field *f, const void *s, uint32_t i);

/* All rows as a JSON object, keys as the members; a new reference, NULL when out of memory. Numbers, but as text what
 * JSON readers would round: SHOW_HEX rows ("0x1f") and decimals above INT64_MAX; BYTES as hex text. */
struct json_t;
struct json_t *state_json(const struct state_table *t, const void *s);

/* The row that a property of a part's node is ("saved-status" is the row status), NULL for none. */
const struct field *state_field_find(const struct state_table *t, const char *property);

/* The table of a part's node name ("virtqueue@1" gives virtqueue's), NULL when this build knows none. */
const struct state_table *state_table_find(const char *node);
/* Every table, NULL at the end: format/state/state_tables.c. */
extern const struct state_table *const state_tables[];

#endif
