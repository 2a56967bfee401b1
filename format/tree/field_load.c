/* SPDX-License-Identifier: MIT */
#include "format/tree/field.h"
#include "format/tree/field_internal.h"
#include "format/limits.h"
#include "libcommon/bytes.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

/* Rows a table may have: field_load keeps one bit a row. */
#define FIELD_ROWS_MAX 256

struct field_seen {
	bool row[FIELD_ROWS_MAX];
	bool version, needs, reg;
};

static int field_load_number(uint32_t *out, const char *name, const void *value, int len,
			     struct fail *why)
{
	if (len != 4)
		return fail_set(why, FAIL_CORRUPT, "%s: invalid length: %d bytes, expected 4", name,
				len);
	*out = get_be32(value);
	return 0;
}

static int field_load_str(const struct field *f, uint8_t *s, const uint8_t *value, size_t len,
			  struct fail *why)
{
	if (len == 0 || value[len - 1] != 0)
		return fail_set(why, FAIL_CORRUPT, "%s: string not NUL-terminated", f->name);
	if (len > f->count)
		return fail_set(why, FAIL_CORRUPT, "%s: %zu bytes exceed the limit of %" PRIu32,
				f->name, len, f->count);
	if (memchr(value, 0, len - 1))
		return fail_set(why, FAIL_CORRUPT, "%s: NUL inside the string", f->name);
	memset(s + f->offset, 0, f->count);
	memcpy(s + f->offset, value, len);
	return 0;
}

static int field_load_versions(const struct state_table *t, const void *fdt, int node,
			       uint32_t *version, struct fail *why)
{
	uint32_t    needs = 0;
	int         len;
	const void *p = fdt_getprop(fdt, node, "version", &len);

	if (!p)
		return fail_set(why, FAIL_CORRUPT, "missing version");
	if (field_load_number(version, "version", p, len, why))
		return -1;
	p = fdt_getprop(fdt, node, "needs", &len);
	if (!p)
		return fail_set(why, FAIL_CORRUPT, "missing needs");
	if (field_load_number(&needs, "needs", p, len, why))
		return -1;
	if (*version == 0 || needs == 0 || needs > *version)
		return fail_set(why, FAIL_CORRUPT,
				"invalid version pair: version %" PRIu32 ", oldest reader %" PRIu32,
				*version, needs);
	if (needs > t->version)
		return fail_set(why, FAIL_VERSION,
				"unsupported version: needs reader version %" PRIu32
				", this build has %" PRIu32, needs, t->version);
	if (*version < t->oldest)
		return fail_set(why, FAIL_VERSION,
				"unsupported version %" PRIu32 ", this build reads %" PRIu32
				" and newer", *version, t->oldest);
	return 0;
}

/* The property's length says how many elements there are. */
static int field_load_used(const struct field *f, uint8_t *s, size_t len, uint32_t *n,
			   struct fail *why)
{
	size_t width = field_cell_bytes(f);

	if (len % width || len / width > f->count)
		return fail_set(why, FAIL_CORRUPT, "%s: invalid length: %zu bytes, expected 0 to "
				"%zu, a multiple of %zu", f->name, len, f->count * width, width);
	*n = (uint32_t)(len / width);
	field_use(f, s, *n);
	/* What is behind the used elements is nobody's value. */
	memset(s + f->offset, 0, f->count * field_width(f));
	return 0;
}

static int field_load_row(const struct field *f, uint8_t *s, const uint8_t *value, size_t len,
			  struct fail *why)
{
	size_t   width = field_cell_bytes(f);
	uint32_t n     = f->count;

	if (f->type == FIELD_STR)
		return field_load_str(f, s, value, len, why);
	if (f->used_width && field_load_used(f, s, len, &n, why))
		return -1;
	if (len != n * width)
		return fail_set(why, FAIL_CORRUPT, "%s: invalid length: %zu bytes, expected %zu",
				f->name, len, n * width);
	if (f->type == FIELD_BYTES) {
		memcpy(s + f->offset, value, len);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t v = width == 8 ? get_be64(value + 8 * (size_t)i)
					: get_be32(value + 4 * (size_t)i);

		if (field_bounds(f, i, v, why))
			return -1;
		field_put(f, s, i, v);
	}
	return 0;
}

/* Lists that share their number of elements are equally long; s has what the last one said. */
static int field_load_lists(const struct state_table *t, const uint8_t *s,
			    const uint32_t elements[FIELD_ROWS_MAX], struct fail *why)
{
	for (const struct field *f = t->fields; f->type != FIELD_END; f++) {
		uint32_t n = elements[f - t->fields];

		if (f->used_width && n && n - 1 != field_used(f, s))
			return fail_set(why, FAIL_CORRUPT, "%s: %" PRIu32 " elements, expected %"
					PRIu32, f->name, n - 1, field_used(f, s));
	}
	return 0;
}

/* Reads every property once, in the order of the node: the work is bounded by the tree, not by
 * tree times rows. */
static int field_load_all(const struct state_table *t, uint8_t *s, const void *fdt, int node,
			  unsigned *unknown, struct fail *why)
{
	struct field_seen seen = { 0 };
	uint32_t          elements[FIELD_ROWS_MAX] = { 0 };      /* of a list that is there, + 1 */
	uint32_t          version = 0, unit = 0, reg = 0;
	bool              has_unit;
	int               at;
	const char       *name = fdt_get_name(fdt, node, NULL);

	if (!name || !field_unit(name, &has_unit, &unit))
		return fail_set(why, FAIL_CORRUPT, "invalid unit address");
	if (field_load_versions(t, fdt, node, &version, why))
		return -1;
	fdt_for_each_property_offset(at, fdt, node) {
		const char         *property;
		int                 len;
		size_t              row;
		const void         *value = fdt_getprop_by_offset(fdt, at, &property, &len);
		const struct field *f;

		if (!value || len < 0)
			return fail_set(why, FAIL_CORRUPT, "malformed property");
		if (strcmp(property, "version") == 0 || strcmp(property, "needs") == 0)
			continue;
		if (has_unit && strcmp(property, "reg") == 0) {
			if (field_load_number(&reg, "reg", value, len, why))
				return -1;
			if (reg != unit)
				return fail_set(why, FAIL_CORRUPT,
						"reg differs from the unit address");
			seen.reg = true;
			continue;
		}
		f = state_field_find(t, property);
		if (!f || f->since > version) {
			(*unknown)++;
			continue;
		}
		row = (size_t)(f - t->fields);
		if (row >= FIELD_ROWS_MAX || seen.row[row])
			return fail_set(why, FAIL_CORRUPT, "duplicate %s", f->name);
		if (field_load_row(f, s, value, (size_t)len, why))
			return -1;
		seen.row[row] = true;
		elements[row] = f->used_width ? field_used(f, s) + 1 : 0;
	}
	if (has_unit && !seen.reg)
		return fail_set(why, FAIL_CORRUPT, "missing reg");
	for (const struct field *f = t->fields; f->type != FIELD_END; f++)
		if (f->since <= version && !seen.row[f - t->fields])
			return fail_set(why, FAIL_CORRUPT, "missing %s", f->name);
	if (field_load_lists(t, s, elements, why))
		return -1;
	return t->check ? t->check(s, why) : 0;
}

int state_load(const struct state_table *t, void *s, const void *fdt, int node, const char *where,
	       unsigned *unknown, struct fail *why)
{
	unsigned extra = 0;
	uint8_t *scratch = malloc(t->size);
	int      rc = -1;

	if (!scratch)
		return fail_sys(why, "%s: %s", where, t->name);
	memcpy(scratch, s, t->size);
	if (field_load_all(t, scratch, fdt, node, &extra, why)) {
		const char *name = fdt_get_name(fdt, node, NULL);

		fail_prefix(why, "%s: %s: ", where, name ? name : t->name);
		goto out;
	}
	memcpy(s, scratch, t->size);
	if (unknown)
		*unknown = extra;
	rc = 0;
out:
	free(scratch);
	return rc;
}
