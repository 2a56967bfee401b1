/* SPDX-License-Identifier: MIT */
#include "vminspect/properties.h"

#include "format/tree/tree.h"
#include "libcommon/bytes.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char     *name;
	enum known_kind kind;
} known_properties[] = {
	{ "compatible", KNOWN_STR },        { "model", KNOWN_STR },              { "device_type", KNOWN_STR },
	{ "version", KNOWN_U32 },           { "needs", KNOWN_U32 },              { "#address-cells", KNOWN_U32 },
	{ "#size-cells", KNOWN_U32 },       { "#interrupt-cells", KNOWN_U32 },   { "phandle", KNOWN_U32 },
	{ "interrupt-parent", KNOWN_U32 },  { "interrupts", KNOWN_U32 },         { "interrupt-controller", KNOWN_FLAG },
	{ "ranges", KNOWN_FLAG },           { "vmferry,name", KNOWN_STR },       { "uuid", KNOWN_BYTES },
	{ "on-reboot", KNOWN_STR },         { "append", KNOWN_STR },             { "timebase-frequency", KNOWN_U64 },
	{ "riscv,isa", KNOWN_STR },         { "vmferry,size", KNOWN_U64 },       { "vmferry,region", KNOWN_U32 },
	{ "vmferry,kind", KNOWN_STR },      { "vmferry,page-size", KNOWN_U32 },  { "vmferry,type", KNOWN_STR },
	{ "vmferry,slot", KNOWN_U32 },      { "vmferry,host", KNOWN_STR },       { "class", KNOWN_STR },
	{ "path", KNOWN_STR },              { "read-only", KNOWN_FLAG },         { "size", KNOWN_U64 },
	{ "mtime", KNOWN_U64 },             { "digest", KNOWN_BYTES },
	{ "vmferry,stopped", KNOWN_FLAG },  { "vmferry,reset-pending", KNOWN_FLAG },
	{ "instance", KNOWN_BYTES },        { "written", KNOWN_U64 },
	{ "vmferry,cpu-model", KNOWN_STR }, { "vmferry,xsave-bytes", KNOWN_U32 },
};

/* Cells, as many as there are. */
static const char *const known_lists[] = { "vmferry,cpuid", "vmferry,msrs" };

static enum known_kind known_of_row(const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_U8:
	case FIELD_U16:
	case FIELD_U32:   return f->show == SHOW_HEX ? KNOWN_X32 : KNOWN_U32;
	case FIELD_U64:   return f->show == SHOW_HEX ? KNOWN_X64 : KNOWN_U64;
	case FIELD_BYTES: return KNOWN_BYTES;
	case FIELD_STR:   return KNOWN_STR;
	case FIELD_END:   break;
	}
	return KNOWN_NOT;
}

static bool known_fits(struct known k, const uint8_t *value, int len)
{
	unsigned count = k.row ? k.row->count : 1;

	switch (k.kind) {
	case KNOWN_STR:   return len > 0 && value[len - 1] == '\0' && !memchr(value, 0, (size_t)len - 1);
	case KNOWN_BYTES: return !k.row || (unsigned)len == count;
	case KNOWN_FLAG:  return len == 0;
	case KNOWN_U32:
	case KNOWN_X32:
	case KNOWN_U64:
	case KNOWN_X64:   return (uint64_t)len == (uint64_t)count * known_width(k);
	case KNOWN_NOT:   break;
	}
	return false;
}

struct known known_property(const struct state_table *part, const char *name, const uint8_t *value, int len)
{
	struct known k = { .kind = KNOWN_NOT };

	if (strcmp(name, "reg") == 0) {
		/* A CPU's or part's number; a window's or region's address and size. */
		k.kind = len == 4 ? KNOWN_U32 : len == 16 ? KNOWN_X64 : KNOWN_NOT;
		return k;
	}
	if (part && strcmp(name, "version") && strcmp(name, "needs")) {
		k.row = state_field_find(part, name);
		if (!k.row)
			return k;
		k.kind = known_of_row(k.row);
	} else {
		for (size_t i = 0; i < sizeof(known_properties) / sizeof(known_properties[0]); i++)
			if (strcmp(known_properties[i].name, name) == 0)
				k.kind = known_properties[i].kind;
		for (size_t i = 0; i < sizeof(known_lists) / sizeof(known_lists[0]); i++)
			if (strcmp(known_lists[i], name) == 0 && len % 4 == 0)
				return (struct known){ .kind = KNOWN_X32 };
	}
	if (!known_fits(k, value, len))
		k = (struct known){ .kind = KNOWN_NOT };
	return k;
}

unsigned known_width(struct known k)
{
	switch (k.kind) {
	case KNOWN_U32:
	case KNOWN_X32: return 4;
	case KNOWN_U64:
	case KNOWN_X64: return 8;
	case KNOWN_NOT:
	case KNOWN_STR:
	case KNOWN_BYTES:
	case KNOWN_FLAG: break;
	}
	return 1;
}

uint64_t known_value(struct known k, const uint8_t *value, int i)
{
	return known_width(k) == 8 ? get_be64(value + 8 * (size_t)i) : get_be32(value + 4 * (size_t)i);
}

bool known_hex(struct known k)
{
	return k.kind == KNOWN_X32 || k.kind == KNOWN_X64;
}

void known_walk(const void *fdt, const struct known_visit *v, void *arg)
{
	const struct state_table *parts[TREE_DEPTH + 1];
	bool                      states[TREE_DEPTH + 1];
	int                       depth = -1, at = 0, next, len;

	for (uint32_t tag; (tag = fdt_next_tag(fdt, at, &next)) != FDT_END && next >= 0; at = next) {
		if (tag == FDT_BEGIN_NODE && depth < TREE_DEPTH - 1) {
			const char *name = fdt_get_name(fdt, at, NULL);
			bool        part = depth >= 0 && states[depth];

			name = name ? name : "";
			depth++;
			states[depth] = strcmp(name, "state") == 0;
			parts[depth]  = part ? state_table_find(name) : NULL;
			if (v->node)
				v->node(arg, depth, name, parts[depth], part && !parts[depth]);
		} else if (tag == FDT_PROP && depth >= 0) {
			const char    *name;
			const uint8_t *value = fdt_getprop_by_offset(fdt, at, &name, &len);

			if (value && v->prop)
				v->prop(arg, depth, name, value, len, known_property(parts[depth], name, value, len));
		} else if (tag == FDT_END_NODE && depth >= 0) {
			if (v->end)
				v->end(arg, depth);
			depth--;
		}
	}
}

struct strays {
	json_t *list;
	char    path[TREE_DEPTH][TREE_NAME_MAX];
	bool    failed, inside[TREE_DEPTH];      /* of a stray node: named once, as a whole */
};

static void strays_add(struct strays *s, int depth, const char *property)
{
	char text[TREE_PATH_MAX * 4] = "";
	size_t n = 0;

	for (int i = 1; i <= depth && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "/%s", s->path[i]);
	if (n < sizeof(text) && property)
		snprintf(text + n, sizeof(text) - n, "%s: %s", n ? "" : "/", property);
	if (json_array_append_new(s->list, json_string(text)))
		s->failed = true;
}

static void strays_node(void *arg, int depth, const char *name, const struct state_table *part, bool stray)
{
	struct strays *s = arg;

	(void)part;
	snprintf(s->path[depth], sizeof(s->path[depth]), "%s", name);
	s->inside[depth] = stray || (depth > 0 && s->inside[depth - 1]);
	if (stray && !(depth > 0 && s->inside[depth - 1]))
		strays_add(s, depth, NULL);
}

static void strays_prop(void *arg, int depth, const char *name, const uint8_t *value, int len, struct known k)
{
	struct strays *s = arg;

	(void)value;
	(void)len;
	if (k.kind == KNOWN_NOT && !s->inside[depth])
		strays_add(s, depth, name);
}

json_t *known_strays(const void *fdt)
{
	static const struct known_visit visit = { .node = strays_node, .prop = strays_prop };
	struct strays                   s     = { .list = json_array() };

	if (s.list)
		known_walk(fdt, &visit, &s);
	if (s.failed) {
		json_decref(s.list);
		return NULL;
	}
	return s.list;
}
