/* SPDX-License-Identifier: MIT */
/* Each state table against a node made of the input: any properties are refused with a reason and
 * leave the struct alone, or load and survive a round trip. Byte 0: the table. Then one property
 * each: which (row; 253 version, 254 needs, 255 unknown), how (0: as long as its row says, the
 * bytes follow, of a list as if it were full; else so many bytes less one), the bytes. What is left
 * out is zero, and a list empty. */
#include "format/tree/field.h"
#include "format/limits.h"

#include <assert.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static _Alignas(8) uint8_t blob[256 << 10], again[256 << 10];

static size_t row_bytes(const struct field *f)
{
	switch (f->type) {
	case FIELD_BYTES:
	case FIELD_STR:  return f->count;
	case FIELD_U64:  return 8 * (size_t)f->count;
	default:         return 4 * (size_t)f->count;
	}
}

static void property(const struct field *f, char out[64])
{
	snprintf(out, 64, "%s%s", strcmp(f->name, "status") ? "" : "saved-", f->name);
	for (char *c = out; *c; c++)
		*c = *c == '_' ? '-' : *c;
}

struct input {
	const uint8_t *p;
	size_t         left;
};

static const uint8_t *take(struct input *in, size_t n)
{
	const uint8_t *p = in->p;

	if (in->left < n)
		return NULL;
	in->p += n;
	in->left -= n;
	return p;
}

/* One property from the input into fdt; false at the input's end. */
static bool put(const struct state_table *t, size_t nrows, struct input *in, bool *seen,
		bool meta[2])
{
	const uint8_t *head = take(in, 2), *value;
	char           name[64];
	size_t         n;

	if (!head)
		return false;
	if (head[0] >= 253) {
		static const char *const names[] = { "version", "needs", "vendor,unknown" };

		n     = head[1] ? (size_t)head[1] - 1 : 4;
		value = take(in, n);
		if (!value || (head[0] < 255 && meta[head[0] - 253]))
			return value != NULL;
		if (head[0] < 255)
			meta[head[0] - 253] = true;
		fdt_property(blob, names[head[0] - 253], value, (int)n);
		return true;
	}
	size_t row = head[0] % nrows;

	n     = head[1] ? (size_t)head[1] - 1 : row_bytes(&t->fields[row]);
	value = take(in, n);
	if (!value || seen[row])
		return value != NULL;
	seen[row] = true;
	property(&t->fields[row], name);
	fdt_property(blob, name, value, (int)n);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t zeroes[LIMIT_PROP_BYTES];
	size_t               ntables = 0, nrows = 0;
	bool                 seen[256] = { false }, meta[2] = { false };
	struct input         in;
	struct fail          why = { 0 };
	char                 name[64];

	if (len < 1)
		return 0;
	in = (struct input){ data + 1, len - 1 };
	while (state_tables[ntables])
		ntables++;
	const struct state_table *t = state_tables[data[0] % ntables];

	while (t->fields[nrows].type != FIELD_END)
		nrows++;
	assert(nrows && nrows < 253);
	fdt_create(blob, (int)sizeof(blob));
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	fdt_begin_node(blob, t->name);
	while (put(t, nrows, &in, seen, meta))
		;
	for (size_t i = 0; i < nrows; i++) {
		property(&t->fields[i], name);
		if (!seen[i])
			fdt_property(blob, name, zeroes, t->fields[i].used_width
				     ? 0 : (int)row_bytes(&t->fields[i]));
	}
	if (!meta[0])
		fdt_property_u32(blob, "version", t->version);
	if (!meta[1])
		fdt_property_u32(blob, "needs", t->needs);
	fdt_end_node(blob);
	fdt_end_node(blob);
	if (fdt_finish(blob))
		return 0;

	uint8_t *s = malloc(t->size), *before = malloc(t->size), *copy = calloc(1, t->size);
	uint32_t element;

	memset(s, 0, t->size);
	memcpy(before, s, t->size);
	if (state_load(t, s, blob, fdt_subnode_offset(blob, 0, t->name), "fuzz", NULL, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0] && memcmp(s, before, t->size) == 0);
	} else {
		fdt_create(again, (int)sizeof(again));
		fdt_finish_reservemap(again);
		fdt_begin_node(again, "");
		assert(state_save(t, s, t->name, again, &why) == 0);
		fdt_end_node(again);
		assert(fdt_finish(again) == 0);
		assert(state_load(t, copy, again, fdt_subnode_offset(again, 0, t->name),
				  "fuzz", NULL, &why) == 0);
		assert(state_differs(t, s, copy, &element) == NULL);
	}
	free(s);
	free(before);
	free(copy);
	return 0;
}
