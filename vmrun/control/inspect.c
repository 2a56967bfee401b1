/* SPDX-License-Identifier: MIT */
#include "vmrun/control/qmp_commands.h"

#include "libcommon/bitmap.h"
#include "vmrun/control/lease_session.h"
#include "vmrun/control/server.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* vmferry-inspect: the live tree. vCPUs and devices stand still for as long as their state is read, without a holder and
 * without events: a glance of milliseconds that no one else sees. */

static json_t *inspect_sections(const struct state_section *sections, size_t n)
{
	json_t *m = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(m, sections[i].node, state_json(sections[i].table, sections[i].s));
	return m;
}

static json_t *inspect_node(const char *path, json_t *state, json_t *counters)
{
	return json_pack("{s:s, s:o, s:o}", "path", path, "state", state, "counters", counters);
}

/* path selects a node by its whole path or by its last component; NULL selects all. */
static bool inspect_selected(const char *path, const char *node)
{
	const char *slash = strrchr(node, '/');

	return !path || !strcmp(path, node) || !strcmp(path, slash ? slash + 1 : node) || (path[0] == '/' && slash && !strcmp(path, slash));
}

static void inspect_vm(struct vm *vm, const struct machine_sections *p, json_t *list, const char *path)
{
	struct state_section sections[MACHINE_SECTIONS_MAX];

	if (!inspect_selected(path, "/vm"))
		return;
	clock_save(&vm->clock, &vm->clock_section);     /* as vm_save does: the part is a copy */
	json_array_append_new(
		list,
		inspect_node("/vm", inspect_sections(sections, p->vm(p->arg, sections, MACHINE_SECTIONS_MAX)),
			     json_pack("{s:I}", "dirty-words", (json_int_t)vm->dirty_words)));
}

static void inspect_cpu(struct vm *vm, const struct machine_sections *p, json_t *list, uint32_t cpu, const char *path)
{
	struct state_section    sections[MACHINE_SECTIONS_MAX];
	struct accel_counter c[32];
	json_t              *counters;
	char                 node[MACHINE_NODE_MAX];
	size_t               n;

	snprintf(node, sizeof(node), "/cpus/cpu@%x", cpu);
	if (!inspect_selected(path, node))
		return;
	counters = json_object();
	n = vm->accel->ops->counters ? vm->accel->ops->counters(vm->accel, cpu, c, sizeof(c) / sizeof(c[0])) : 0;
	for (size_t i = 0; i < n; i++)
		json_object_set_new(counters, c[i].name, json_integer((json_int_t)c[i].value));
	json_array_append_new(list, inspect_node(node, inspect_sections(sections, p->cpu(p->arg, cpu, sections, MACHINE_SECTIONS_MAX)), counters));
}

static void inspect_device(struct vm *vm, const struct machine_sections *p, json_t *list, uint32_t i, const char *path)
{
	struct state_section sections[MACHINE_SECTIONS_MAX];
	struct device    *d        = vm->board->devices[i];
	json_t           *counters = json_object();
	char              node[MACHINE_NODE_MAX + 8];

	snprintf(node, sizeof(node), "/soc/%s", d->node);
	if (!inspect_selected(path, node)) {
		json_decref(counters);
		return;
	}
	if (d->ops->counters)
		d->ops->counters(d, counters);
	json_array_append_new(list, inspect_node(node, inspect_sections(sections, p->device(p->arg, i, sections, MACHINE_SECTIONS_MAX)), counters));
}

static json_t *inspect_regions(struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		const struct region *r   = &vm->memory.regions[i];
		uint64_t            *map = calloc(bitmap_words(r->npages), sizeof(*map));
		json_int_t           present = -1;
		struct fail          why;

		if (map && region_present(r, map, &why) == 0)
			present = (json_int_t)bitmap_count(map, r->npages);
		free(map);
		json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:I, s:i, s:I}", "name", r->cfg.name, "id", (int)r->cfg.id,
						      "gpa", (json_int_t)r->cfg.gpa, "size", (json_int_t)r->cfg.size,
						      "page-size", (int)r->cfg.page_size, "present-pages", present));
	}
	return list;
}

int inspect_command(struct command_call *call, struct fail *why)
{
	struct vm           *vm   = call->vm;
	const char          *path = json_string_value(json_object_get(call->args, "path"));
	json_t              *list = json_array();
	struct machine_sections sections;

	if (runstate_quiesce(vm, why)) {
		json_decref(list);
		return -1;
	}
	if (vm->accel->ops->sync_state && vm->accel->ops->sync_state(vm->accel, why)) {
		struct fail second;

		runstate_apply(vm, &second);
		json_decref(list);
		return -1;
	}
	vm_sections(vm, &sections);
	pthread_mutex_lock(&vm->machine_lock);
	inspect_vm(vm, &sections, list, path);
	for (uint32_t i = 0; i < vm->cfg.ncpus; i++)
		inspect_cpu(vm, &sections, list, i, path);
	for (uint32_t i = 0; i < vm->board->ndevices; i++)
		inspect_device(vm, &sections, list, i, path);
	pthread_mutex_unlock(&vm->machine_lock);
	if (runstate_apply(vm, why)) {
		json_decref(list);
		return -1;
	}
	if (path && json_array_size(list) == 0) {
		json_decref(list);
		call->class = "DeviceNotFound";
		return fail_set(why, FAIL_USAGE, "missing node '%.100s'; omit the path to list all",
				path);
	}
	call->ret = json_pack("{s:s, s:s, s:o, s:o, s:o}", "machine", machine_type_name(vm->cfg.type), "accel", vm->accel->ops->name,
			      "regions", inspect_regions(vm), "leases", sessions_json(call->server), "nodes", list);
	return 0;
}
