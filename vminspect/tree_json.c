#include "vminspect/tree_json.h"

#include "format/tree.h"
#include "vminspect/known.h"
#include "vminspect/show.h"

#include <stdio.h>

struct tree_json {
	json_t *nodes[TREE_DEPTH + 1];     /* nodes[0] is ours, the others their parents' */
	bool    failed;
};

static void tree_json_put(struct tree_json *t, int depth, const char *name, json_t *v)
{
	char other[TREE_NAME_MAX + 1];

	/* A child may have a property's name: then it is "name/". */
	if (json_object_get(t->nodes[depth], name)) {
		snprintf(other, sizeof(other), "%s/", name);
		name = other;
	}
	if (json_object_set_new(t->nodes[depth], name, v))
		t->failed = true;
}

static void tree_json_node(void *arg, int depth, const char *name, const struct state_table *part, bool stray)
{
	struct tree_json *t = arg;

	(void)part;
	(void)stray;
	if (depth == 0 || t->failed)
		return;
	t->nodes[depth] = json_object();
	if (!t->nodes[depth])
		t->failed = true;
	else
		tree_json_put(t, depth - 1, name, t->nodes[depth]);
}

static json_t *tree_json_number(struct known k, uint64_t v)
{
	if (k.row && k.row->type == FIELD_BOOL && v <= 1)
		return json_boolean(v);
	return known_hex(k) ? show_json_x64(v) : show_json_u64(v);
}

static json_t *tree_json_numbers(struct known k, const uint8_t *value, int len)
{
	int     n = len / (int)known_width(k);
	json_t *list;

	if (n == 1)
		return tree_json_number(k, known_value(k, value, 0));
	list = json_array();
	for (int i = 0; list && i < n; i++) {
		if (json_array_append_new(list, tree_json_number(k, known_value(k, value, i)))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static void tree_json_prop(void *arg, int depth, const char *name, const uint8_t *value, int len, struct known k)
{
	struct tree_json *t = arg;
	json_t           *v = NULL;

	if (t->failed)
		return;
	switch (k.kind) {
	case KNOWN_STR:
		v = show_json_text((const char *)value);
		break;
	case KNOWN_U32:
	case KNOWN_X32:
	case KNOWN_U64:
	case KNOWN_X64:
		v = tree_json_numbers(k, value, len);
		break;
	case KNOWN_BYTES:
	case KNOWN_NOT:
		v = show_json_hex(value, (size_t)len);
		break;
	case KNOWN_FLAG:
		v = json_true();
		break;
	}
	tree_json_put(t, depth, k.row ? k.row->name : name, v);
}

json_t *tree_json(const void *fdt)
{
	static const struct known_visit visit = { .node = tree_json_node, .prop = tree_json_prop };
	struct tree_json                t     = { .nodes = { json_object() } };

	if (!t.nodes[0])
		return NULL;
	known_walk(fdt, &visit, &t);
	if (t.failed) {
		json_decref(t.nodes[0]);
		return NULL;
	}
	return t.nodes[0];
}
