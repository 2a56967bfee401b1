/* SPDX-License-Identifier: MIT */
#include "vminspect/tree_json.h"

#include "format/tree/tree.h"
#include "vminspect/properties.h"
#include "vminspect/show.h"

#include <stdio.h>
#include <string.h>

struct tree_json {
	/* nodes[0] is ours, the others their parents' */
	json_t                   *nodes[TREE_DEPTH + 1];
	const struct state_table *sections[TREE_DEPTH + 1];
	bool                      failed;
};

/* No two of a node share a key. Names have no slash, so one makes a key that is no other's name. */
static void tree_json_put(struct tree_json *t, int depth, const char *name, json_t *v)
{
	if (json_object_set_new(t->nodes[depth], name, v))
		t->failed = true;
}

/* Is it the name of a row? A row's property has another ("guest-ns"), so both may be there. */
static bool tree_json_is_row(const struct state_table *section, const char *name)
{
	for (const struct field *f = section ? section->fields : NULL;
	     f && f->type != FIELD_END; f++)
		if (strcmp(f->name, name) == 0)
			return true;
	return false;
}

static void tree_json_node(void *arg, int depth, const char *name,
			   const struct state_table *section, bool unknown)
{
	struct tree_json *t = arg;
	char              other[TREE_NAME_MAX + 1];

	(void)unknown;
	t->sections[depth] = section;
	if (depth == 0 || t->failed)
		return;
	t->nodes[depth] = json_object();
	/* A child may have a property's name: properties come first. */
	snprintf(other, sizeof(other), "%s%s", name,
		 json_object_get(t->nodes[depth - 1], name) ? "/" : "");
	if (!t->nodes[depth])
		t->failed = true;
	else
		tree_json_put(t, depth - 1, other, t->nodes[depth]);
}

static json_t *tree_json_number(struct property p, uint64_t v)
{
	if (p.row && p.row->type == FIELD_BOOL && v <= 1)
		return json_boolean(v);
	return property_is_hex(p) ? show_json_x64(v) : show_json_u64(v);
}

static json_t *tree_json_numbers(struct property p, const uint8_t *value, int len)
{
	int     n = len / (int)property_width(p);
	json_t *list;

	/* A list of one element is a list. */
	if (n == 1 && !(p.row && p.row->used_width))
		return tree_json_number(p, property_value(p, value, 0));
	list = json_array();
	for (int i = 0; list && i < n; i++) {
		if (json_array_append_new(list, tree_json_number(p, property_value(p, value, i)))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static void tree_json_prop(void *arg, int depth, const char *name, const uint8_t *value, int len,
			   struct property p)
{
	struct tree_json *t = arg;
	json_t           *v = NULL;
	char              other[TREE_NAME_MAX + 1];

	if (t->failed)
		return;
	switch (p.kind) {
	case PROPERTY_STR:
		v = show_json_text((const char *)value);
		break;
	case PROPERTY_U32:
	case PROPERTY_X32:
	case PROPERTY_U64:
	case PROPERTY_X64:
		v = tree_json_numbers(p, value, len);
		break;
	case PROPERTY_BYTES:
	case PROPERTY_NOT:
		v = show_json_hex(value, (size_t)len);
		break;
	case PROPERTY_FLAG:
		v = json_true();
		break;
	}
	snprintf(other, sizeof(other), "%s%s",
		 !p.row && tree_json_is_row(t->sections[depth], name) ? "/" : "",
		 p.row ? p.row->name : name);
	tree_json_put(t, depth, other, v);
}

json_t *tree_json(const void *fdt)
{
	static const struct property_visit visit = { .node = tree_json_node,
						     .prop = tree_json_prop };
	struct tree_json                   t     = { .nodes = { json_object() } };

	if (!t.nodes[0])
		return NULL;
	properties_walk(fdt, &visit, &t);
	if (t.failed) {
		json_decref(t.nodes[0]);
		return NULL;
	}
	return t.nodes[0];
}
