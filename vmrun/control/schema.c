/* SPDX-License-Identifier: MIT */
#include "vmrun/control/qmp_commands.h"

#include "vmrun/control/server.h"

#include <stdio.h>
#include <string.h>

/* query-qmp-schema, generated from the table of commands. Answers have the type "any": their shapes
 * are in docs/control.md 4. */

static void schema_builtin(json_t *list, const char *name, const char *json_type)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", name,
					      "meta-type", "builtin", "json-type", json_type));
}

static const char *schema_type(char type)
{
	return type == 's' ? "str" : type == 'b' ? "bool" : type == 'a' ? "[any]" : "int";
}

/* The object type "NAME-arg", with a member per row; name is that of the empty object when there
 * are no rows. */
static void schema_arguments(json_t *list, const struct command *c, char *name, size_t capacity)
{
	json_t *members = json_array();

	if (!c->args || !c->args->name) {
		snprintf(name, capacity, "empty");
		json_decref(members);
		return;
	}
	snprintf(name, capacity, "%s-arg", c->name);
	for (const struct command_arg *a = c->args; a->name; a++) {
		json_t *m = json_pack("{s:s, s:s}", "name", a->name, "type", schema_type(a->type));

		if (a->optional)
			json_object_set_new(m, "default", json_null());
		json_array_append_new(members, m);
	}
	json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", name,
					      "meta-type", "object", "members", members));
}

int query_schema(struct command_call *call, struct fail *why)
{
	json_t *list = json_array();
	char    name[80];

	(void)why;
	schema_builtin(list, "str", "string");
	schema_builtin(list, "int", "int");
	schema_builtin(list, "bool", "boolean");
	schema_builtin(list, "any", "value");
	json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", "[any]",
					      "meta-type", "array", "element-type", "any"));
	json_array_append_new(list, json_pack("{s:s, s:s, s:[]}", "name", "empty",
					      "meta-type", "object", "members"));
	for (const struct command *c = commands; c->name; c++) {
		schema_arguments(list, c, name, sizeof(name));
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", c->name,
						"meta-type", "command", "arg-type", name,
						"ret-type", "any", "allow-oob", 0));
	}
	for (const struct event_kind *k = events_kinds; k->name; k++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", k->name,
						      "meta-type", "event", "arg-type", "any"));
	call->ret = list;
	return 0;
}
