/* SPDX-License-Identifier: MIT */
#include "vminspect/properties.h"

#include "format/tree/tree.h"
#include "libcommon/bytes.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char        *name;
	enum property_kind kind;
} property_table[] = {
	{ "compatible", PROPERTY_STR },               { "model", PROPERTY_STR },
	{ "device_type", PROPERTY_STR },              { "version", PROPERTY_U32 },
	{ "needs", PROPERTY_U32 },                    { "#address-cells", PROPERTY_U32 },
	{ "#size-cells", PROPERTY_U32 },              { "#interrupt-cells", PROPERTY_U32 },
	{ "phandle", PROPERTY_U32 },                  { "interrupt-parent", PROPERTY_U32 },
	{ "interrupts", PROPERTY_U32 },               { "interrupt-controller", PROPERTY_FLAG },
	{ "ranges", PROPERTY_FLAG },                  { "vmferry,name", PROPERTY_STR },
	{ "uuid", PROPERTY_BYTES },                   { "on-reboot", PROPERTY_STR },
	{ "append", PROPERTY_STR },                   { "timebase-frequency", PROPERTY_U64 },
	{ "riscv,isa", PROPERTY_STR },                { "vmferry,size", PROPERTY_U64 },
	{ "vmferry,region", PROPERTY_U32 },           { "vmferry,kind", PROPERTY_STR },
	{ "vmferry,page-size", PROPERTY_U32 },        { "vmferry,type", PROPERTY_STR },
	{ "vmferry,slot", PROPERTY_U32 },             { "vmferry,host", PROPERTY_STR },
	{ "class", PROPERTY_STR },                    { "path", PROPERTY_STR },
	{ "read-only", PROPERTY_FLAG },               { "size", PROPERTY_U64 },
	{ "mtime", PROPERTY_U64 },                    { "digest", PROPERTY_BYTES },
	{ "vmferry,stopped", PROPERTY_FLAG },         { "vmferry,reset-pending", PROPERTY_FLAG },
	{ "instance", PROPERTY_BYTES },               { "written", PROPERTY_U64 },
	{ "vmferry,cpu-model", PROPERTY_STR },        { "vmferry,xsave-bytes", PROPERTY_U32 },
};

/* Cells, as many as there are. */
static const char *const property_lists[] = { "vmferry,cpuid", "vmferry,msrs" };

static enum property_kind property_kind_of_row(const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_U8:
	case FIELD_U16:
	case FIELD_U32:   return f->show == SHOW_HEX ? PROPERTY_X32 : PROPERTY_U32;
	case FIELD_U64:   return f->show == SHOW_HEX ? PROPERTY_X64 : PROPERTY_U64;
	case FIELD_BYTES: return PROPERTY_BYTES;
	case FIELD_STR:   return PROPERTY_STR;
	case FIELD_END:   break;
	}
	return PROPERTY_NOT;
}

static bool property_fits(struct property p, const uint8_t *value, int len)
{
	unsigned count = p.row ? p.row->count : 1;

	/* As many elements as there are, up to count. */
	if (p.row && p.row->used_width && (unsigned)len / property_width(p) <= count)
		return (unsigned)len % property_width(p) == 0;
	switch (p.kind) {
	case PROPERTY_STR:
		return len > 0 && value[len - 1] == '\0' && !memchr(value, 0, (size_t)len - 1);
	case PROPERTY_BYTES: return !p.row || (unsigned)len == count;
	case PROPERTY_FLAG:  return len == 0;
	case PROPERTY_U32:
	case PROPERTY_X32:
	case PROPERTY_U64:
	case PROPERTY_X64:   return (uint64_t)len == (uint64_t)count * property_width(p);
	case PROPERTY_NOT:   break;
	}
	return false;
}

struct property property_of(const struct state_table *section, const char *name,
			    const uint8_t *value, int len)
{
	struct property p = { .kind = PROPERTY_NOT };

	if (strcmp(name, "reg") == 0) {
		/* A CPU's or section's number; a window's or region's address and size. */
		p.kind = len == 4 ? PROPERTY_U32 : len == 16 ? PROPERTY_X64 : PROPERTY_NOT;
		return p;
	}
	if (section && strcmp(name, "version") && strcmp(name, "needs")) {
		p.row = state_field_find(section, name);
		if (!p.row)
			return p;
		p.kind = property_kind_of_row(p.row);
	} else {
		for (size_t i = 0; i < sizeof(property_table) / sizeof(property_table[0]); i++)
			if (strcmp(property_table[i].name, name) == 0)
				p.kind = property_table[i].kind;
		for (size_t i = 0; i < sizeof(property_lists) / sizeof(property_lists[0]); i++)
			if (strcmp(property_lists[i], name) == 0 && len % 4 == 0)
				return (struct property){ .kind = PROPERTY_X32 };
	}
	if (!property_fits(p, value, len))
		p = (struct property){ .kind = PROPERTY_NOT };
	return p;
}

unsigned property_width(struct property p)
{
	switch (p.kind) {
	case PROPERTY_U32:
	case PROPERTY_X32: return 4;
	case PROPERTY_U64:
	case PROPERTY_X64: return 8;
	case PROPERTY_NOT:
	case PROPERTY_STR:
	case PROPERTY_BYTES:
	case PROPERTY_FLAG: break;
	}
	return 1;
}

uint64_t property_value(struct property p, const uint8_t *value, int i)
{
	if (property_width(p) == 8)
		return get_be64(value + 8 * (size_t)i);
	return get_be32(value + 4 * (size_t)i);
}

bool property_is_hex(struct property p)
{
	return p.kind == PROPERTY_X32 || p.kind == PROPERTY_X64;
}

void properties_walk(const void *fdt, const struct property_visit *v, void *arg)
{
	const struct state_table *sections[TREE_DEPTH + 1];
	bool                      states[TREE_DEPTH + 1];
	int                       depth = -1, at = 0, next, len;

	for (uint32_t tag; (tag = fdt_next_tag(fdt, at, &next)) != FDT_END && next >= 0;
	     at = next) {
		if (tag == FDT_BEGIN_NODE && depth < TREE_DEPTH - 1) {
			const char *name = fdt_get_name(fdt, at, NULL);
			bool        section = depth >= 0 && states[depth];

			name = name ? name : "";
			depth++;
			states[depth]   = strcmp(name, "state") == 0;
			sections[depth] = section ? state_table_find(name) : NULL;
			if (v->node)
				v->node(arg, depth, name, sections[depth],
					section && !sections[depth]);
		} else if (tag == FDT_PROP && depth >= 0) {
			const char    *name;
			const uint8_t *value = fdt_getprop_by_offset(fdt, at, &name, &len);

			if (value && v->prop)
				v->prop(arg, depth, name, value, len,
					property_of(sections[depth], name, value, len));
		} else if (tag == FDT_END_NODE && depth >= 0) {
			if (v->end)
				v->end(arg, depth);
			depth--;
		}
	}
}

struct unknown {
	json_t *list;
	char    path[TREE_DEPTH][TREE_NAME_MAX];
	/* of an unknown node, which is named once, as a whole */
	bool    failed, inside[TREE_DEPTH];
};

static void unknown_add(struct unknown *s, int depth, const char *property)
{
	char   text[TREE_PATH_MAX * 4] = "";
	size_t n = 0;

	for (int i = 1; i <= depth && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "/%s", s->path[i]);
	if (n < sizeof(text) && property)
		snprintf(text + n, sizeof(text) - n, "%s: %s", n ? "" : "/", property);
	if (json_array_append_new(s->list, json_string(text)))
		s->failed = true;
}

static void unknown_node(void *arg, int depth, const char *name, const struct state_table *section,
			 bool unknown)
{
	struct unknown *s = arg;

	(void)section;
	snprintf(s->path[depth], sizeof(s->path[depth]), "%s", name);
	s->inside[depth] = unknown || (depth > 0 && s->inside[depth - 1]);
	if (unknown && !(depth > 0 && s->inside[depth - 1]))
		unknown_add(s, depth, NULL);
}

static void unknown_prop(void *arg, int depth, const char *name, const uint8_t *value, int len,
			 struct property p)
{
	struct unknown *s = arg;

	(void)value;
	(void)len;
	if (p.kind == PROPERTY_NOT && !s->inside[depth])
		unknown_add(s, depth, name);
}

json_t *properties_unknown(void *const trees[2])
{
	static const struct property_visit visit = { .node = unknown_node, .prop = unknown_prop };
	struct unknown                     s     = { .list = json_array() };

	for (int i = 0; s.list && i < 2; i++)
		properties_walk(trees[i], &visit, &s);
	if (s.failed) {
		json_decref(s.list);
		return NULL;
	}
	return s.list;
}
