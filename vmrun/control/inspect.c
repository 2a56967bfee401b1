/* SPDX-License-Identifier: MIT */
#include "vmrun/control/qmp_commands.h"

#include "vmrun/control/lease_session.h"
#include "vmrun/control/server.h"
#include "vmrun/vm.h"
#include "vmrun/vm_sections.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* vmferry-inspect: the live tree. vCPUs and devices are quiesced while their state is read, without
 * a holder and without events: a pause of milliseconds that no client has to know about. */

static json_t *inspect_sections(const struct state_section *sections, size_t n)
{
	json_t *m = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(m, sections[i].node,
				    state_json(sections[i].table, sections[i].s));
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

	return !path || !strcmp(path, node) || !strcmp(path, slash ? slash + 1 : node) ||
	       (path[0] == '/' && slash && !strcmp(path, slash));
}

static void inspect_vm(struct vm *vm, const struct machine_sections *p, json_t *list,
		       const char *path)
{
	struct state_section sections[MACHINE_SECTIONS_MAX];
	json_t              *state;
	size_t               n;

	if (!inspect_selected(path, "/vm"))
		return;
	/* As vm_save() does: the section is a copy. */
	clock_save(&vm->clock, &vm->clock_section);
	n     = p->vm_sections(p->arg, sections, MACHINE_SECTIONS_MAX);
	state = inspect_sections(sections, n);
	json_array_append_new(list, inspect_node("/vm", state,
						 json_pack("{s:I}", "dirty-words",
							   (json_int_t)vm->dirty.words)));
}

static void inspect_cpu(struct vm *vm, const struct machine_sections *p, json_t *list, uint32_t cpu,
			const char *path)
{
	struct state_section sections[MACHINE_SECTIONS_MAX];
	struct accel_counter c[32];
	json_t              *counters, *state;
	char                 node[MACHINE_NODE_MAX];
	size_t               n;

	snprintf(node, sizeof(node), "/cpus/cpu@%x", cpu);
	if (!inspect_selected(path, node))
		return;
	counters = json_object();
	n = 0;
	if (vm->accel->ops->counters)
		n = vm->accel->ops->counters(vm->accel, cpu, c, sizeof(c) / sizeof(c[0]));
	for (size_t i = 0; i < n; i++)
		json_object_set_new(counters, c[i].name, json_integer((json_int_t)c[i].value));
	n     = p->cpu_sections(p->arg, cpu, sections, MACHINE_SECTIONS_MAX);
	state = inspect_sections(sections, n);
	json_array_append_new(list, inspect_node(node, state, counters));
}

static void inspect_device(struct vm *vm, const struct machine_sections *p, json_t *list,
			   uint32_t i, const char *path)
{
	struct state_section sections[MACHINE_SECTIONS_MAX];
	struct device       *d        = vm->board->devices[i];
	json_t              *counters = json_object(), *state;
	char                 node[MACHINE_NODE_MAX + 8];
	size_t               n;

	snprintf(node, sizeof(node), "/soc/%s", d->node);
	if (!inspect_selected(path, node)) {
		json_decref(counters);
		return;
	}
	if (d->ops->counters)
		d->ops->counters(d, counters);
	n     = p->device_sections(p->arg, i, sections, MACHINE_SECTIONS_MAX);
	state = inspect_sections(sections, n);
	json_array_append_new(list, inspect_node(node, state, counters));
}

static void inspect_present(void *arg, uint64_t first, uint64_t count)
{
	(void)first;
	*(json_int_t *)arg += (json_int_t)count;
}

static json_t *inspect_regions(struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		const struct region *r = &vm->memory.regions[i];
		json_int_t           present = 0;
		struct fail          why;
		int                  rc;

		rc = region_present(&vm->memory, r, inspect_present, &present, &why);
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:I, s:I, s:i, s:I}",
						"name", r->cfg.name, "id", (int)r->cfg.id,
						"gpa", (json_int_t)r->cfg.gpa,
						"size", (json_int_t)r->cfg.size,
						"page-size", (int)r->cfg.page_size,
						"present-pages", rc ? -1 : present));
	}
	return list;
}

int inspect_command(struct command_call *call, struct fail *why)
{
	struct vm           *vm   = call->vm;
	const char          *path = json_string_value(json_object_get(call->args, "path"));
	json_t              *list = json_array();
	struct vm_sections   sections;

	if (runstate_quiesce(vm, why)) {
		json_decref(list);
		return -1;
	}
	if ((vm->accel->ops->sync_state && vm->accel->ops->sync_state(vm->accel, why)) ||
	    vm_sections_open(vm, &sections, why)) {
		struct fail second;

		runstate_apply(vm, &second);
		json_decref(list);
		return -1;
	}
	pthread_mutex_lock(&vm->machine_lock);
	inspect_vm(vm, &sections.walk, list, path);
	for (uint32_t i = 0; i < vm->cfg.ncpus; i++)
		inspect_cpu(vm, &sections.walk, list, i, path);
	for (uint32_t i = 0; i < vm->board->ndevices; i++)
		inspect_device(vm, &sections.walk, list, i, path);
	pthread_mutex_unlock(&vm->machine_lock);
	vm_sections_close(&sections);
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
	call->ret = json_pack("{s:s, s:s, s:o, s:o, s:o}",
			      "machine", machine_type_name(vm->cfg.type),
			      "accel", vm->accel->ops->name, "regions", inspect_regions(vm),
			      "leases", sessions_json(call->server), "nodes", list);
	return 0;
}
