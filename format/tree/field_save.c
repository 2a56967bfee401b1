/* SPDX-License-Identifier: MIT */
#include "format/tree/field.h"
#include "format/tree/field_internal.h"
#include "format/limits.h"
#include "libcommon/bytes.h"

#include <inttypes.h>
#include <libfdt.h>
#include <string.h>

static int field_save_failed(const char *node, int err, struct fail *why)
{
	return fail_set(why, FAIL_LIMIT, "%s: VM tree too large: %s", node, fdt_strerror(err));
}

/* A value that the same row would refuse at load is refused here: a snapshot that cannot be
 * restored is worse than a save that says why it failed while the VM still runs. */
static int field_save_row(const struct field *f, const void *s, const char *node, void *fdt,
			  struct fail *why)
{
	const uint8_t *member = (const uint8_t *)s + f->offset;
	size_t         width  = field_cell_bytes(f);
	uint32_t       n      = state_elements(f, s);
	size_t         len    = n * width;
	char           name[FIELD_NAME_MAX];
	uint8_t       *out;
	void          *place;
	int            err;

	if (f->type == FIELD_STR) {
		len = strnlen((const char *)member, f->count) + 1;
		if (len > f->count)
			return fail_set(why, FAIL_REFUSED,
					"%s: %s: string not NUL-terminated; not saved", node,
					f->name);
	}
	if (len > LIMIT_PROP_BYTES)
		return fail_set(why, FAIL_LIMIT, "%s: %s: %zu bytes exceed the limit of %u", node,
				f->name, len, LIMIT_PROP_BYTES);
	field_property(f, name);
	err = fdt_property_placeholder(fdt, name, (int)len, &place);
	if (err)
		return field_save_failed(node, err, why);
	out = place;
	if (f->type == FIELD_STR || f->type == FIELD_BYTES) {
		memcpy(out, member, len);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t v = state_value(f, s, i);

		if (field_bounds(f, i, v, why)) {
			why->kind = FAIL_REFUSED;
			return fail_prefix(why, "%s: not saved: ", node);
		}
		if (width == 8)
			put_be64(out + 8 * (size_t)i, v);
		else
			put_be32(out + 4 * (size_t)i, (uint32_t)v);
	}
	return 0;
}

/* Before anything goes by the number of a list's elements. */
static int field_save_lists(const struct state_table *t, const void *s, const char *node,
			    struct fail *why)
{
	for (const struct field *f = t->fields; f->type != FIELD_END; f++)
		if (f->used_width && field_used(f, s) > f->count)
			return fail_set(why, FAIL_REFUSED,
					"%s: not saved: %s: %" PRIu32
					" elements exceed the limit of %" PRIu32, node, f->name,
					field_used(f, s), f->count);
	return 0;
}

int state_save(const struct state_table *t, const void *s, const char *node, void *fdt,
	       struct fail *why)
{
	bool     has_unit;
	uint32_t unit;
	int      err;

	if (!field_unit(node, &has_unit, &unit))
		return fail_set(why, FAIL_USAGE, "%s: invalid state node name", node);
	if (field_save_lists(t, s, node, why))
		return -1;
	if (t->check && t->check(s, why)) {
		why->kind = FAIL_REFUSED;
		return fail_prefix(why, "%s: not saved: ", node);
	}
	err = fdt_begin_node(fdt, node);
	if (!err && has_unit)
		/* a unit address without reg is bad form; dtc says so */
		err = fdt_property_u32(fdt, "reg", unit);
	if (!err)
		err = fdt_property_u32(fdt, "version", t->version);
	if (!err)
		err = fdt_property_u32(fdt, "needs", t->needs);
	if (err)
		return field_save_failed(node, err, why);
	for (const struct field *f = t->fields; f->type != FIELD_END; f++)
		if (field_save_row(f, s, node, fdt, why))
			return -1;
	err = fdt_end_node(fdt);
	return err ? field_save_failed(node, err, why) : 0;
}
