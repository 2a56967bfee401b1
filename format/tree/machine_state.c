/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/tree/tree.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- who has state: one pass over the tree, so that the work follows the tree and not the tree
 * times CPUs or devices --- */

static int owner_child(const void *fdt, const char *name, int *node, struct fail *why)
{
	*node = tree_child(fdt, 0, name);
	if (*node < 0)
		return fail_set(why, FAIL_CORRUPT, "VM tree: missing /%s", name);
	return 0;
}

/* The number of "cpu@N", in the one spelling that there is; false: not a CPU's name. */
static bool owner_cpu_number(const char *name, uint32_t *n)
{
	char again[16];

	*n = (uint32_t)strtoul(name + strlen("cpu@"), NULL, 16);
	snprintf(again, sizeof(again), "cpu@%" PRIx32, *n);
	return strcmp(name, again) == 0;
}

static int owner_cpus(const struct machine *m, const void *fdt, struct state_nodes *out,
		      struct fail *why)
{
	uint32_t n;
	int      node;

	fdt_for_each_subnode(node, fdt, out->cpus) {
		const char *name = fdt_get_name(fdt, node, NULL);

		if (!name || (strcmp(name, "cpu") && strncmp(name, "cpu@", 4)))
			continue;
		if (!name[3] || !owner_cpu_number(name, &n) || n >= m->ncpus)
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "not in the configuration");
		out->cpu[n] = node;
	}
	for (n = 0; n < m->ncpus; n++)
		if (out->cpu[n] < 0)
			return fail_set(why, FAIL_CORRUPT, "VM tree: missing /cpus/cpu@%" PRIx32,
					n);
	return 0;
}

static int owner_devices(const struct machine *m, const void *fdt, struct state_nodes *out,
			 struct fail *why)
{
	char names[LIMIT_DEVICES][MACHINE_NODE_MAX];
	int  node;

	for (uint32_t i = 0; i < m->ndevices; i++)
		machine_device_node(&m->devices[i], names[i]);
	fdt_for_each_subnode(node, fdt, out->soc) {
		const char *name = fdt_get_name(fdt, node, NULL);
		uint32_t    i    = 0;

		while (i < m->ndevices && (!name || strcmp(name, names[i])))
			i++;
		if (i == m->ndevices)
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "not in the configuration");
		out->device[i] = node;
	}
	return 0;
}

int machine_state_nodes(const struct machine *m, const void *fdt, struct state_nodes *out,
			struct fail *why)
{
	for (uint32_t i = 0; i < LIMIT_CPUS; i++)
		out->cpu[i] = -1;
	for (uint32_t i = 0; i < LIMIT_DEVICES; i++)
		out->device[i] = -1;
	if (owner_child(fdt, "vm", &out->vm, why) || owner_child(fdt, "cpus", &out->cpus, why) ||
	    owner_child(fdt, "soc", &out->soc, why))
		return -1;
	return owner_cpus(m, fdt, out, why) ? -1 : owner_devices(m, fdt, out, why);
}

int machine_owners(const struct machine *m, const void *fdt, machine_owner_fn *fn, void *arg,
		   struct fail *why)
{
	struct state_nodes nodes;
	char               where[MACHINE_NODE_MAX];

	if (machine_state_nodes(m, fdt, &nodes, why) || fn(arg, OWNER_VM, 0, nodes.vm, "vm", why))
		return -1;
	for (uint32_t i = 0; i < m->ncpus; i++) {
		snprintf(where, sizeof(where), "cpu@%" PRIx32, i);
		if (fn(arg, OWNER_CPU, i, nodes.cpu[i], where, why))
			return -1;
	}
	for (uint32_t i = 0; i < m->ndevices; i++) {
		machine_device_node(&m->devices[i], where);
		if (fn(arg, OWNER_DEVICE, i, nodes.device[i], where, why))
			return -1;
	}
	return 0;
}

/* Each child of the `state` node against the list, once: no two have one name (tree_open). */
int machine_section_nodes(const void *fdt, int owner, const struct state_section *list, size_t n,
			  const char *where, int nodes[MACHINE_SECTIONS_MAX], const char **other,
			  struct fail *why)
{
	int state = owner < 0 ? -1 : tree_child(fdt, owner, "state"), node;

	*other = NULL;
	if (state < 0)
		return n ? fail_set(why, FAIL_CORRUPT, "%s: missing state", where) : 0;
	for (size_t i = 0; i < n; i++)
		nodes[i] = -1;
	fdt_for_each_subnode(node, fdt, state) {
		const char *name = fdt_get_name(fdt, node, NULL);
		size_t      i    = 0;

		while (i < n && (!name || strcmp(list[i].node, name)))
			i++;
		if (i < n)
			nodes[i] = node;
		else if (!*other)
			*other = name ? name : "?";
	}
	for (size_t i = 0; i < n; i++)
		if (nodes[i] < 0)
			return fail_set(why, FAIL_CORRUPT, "%s: missing %s", where, list[i].node);
	return 0;
}

/* --- loading: all or nothing for the whole machine. Each section is read into a copy, and only
 * when all of them have been read are they copied over the live ones. --- */

struct state_copy {
	void  *s;
	void  *copy;
	size_t size;
};

struct state_loader {
	const struct machine       *m;
	/* NULL: nothing to load into, only to check */
	const struct machine_sections *sections;
	const void                 *fdt;
	struct state_section          *list;       /* MACHINE_SECTIONS_MAX */
	struct state_copy          *copies;
	size_t                      ncopies, capacity;
};

/* Takes over copy. */
static int loader_keep(struct state_loader *l, const struct state_section *p, void *copy,
		       struct fail *why)
{
	if (l->ncopies == l->capacity) {
		size_t             capacity = l->capacity ? 2 * l->capacity : 64;
		struct state_copy *v    = realloc(l->copies, capacity * sizeof(*v));

		if (!v) {
			free(copy);
			return fail_sys(why, "VM tree: state");
		}
		l->copies = v;
		l->capacity   = capacity;
	}
	l->copies[l->ncopies++] = (struct state_copy){ .s = p->s, .copy = copy,
						       .size = p->table->size };
	return 0;
}

static int loader_section(struct state_loader *l, const struct state_section *p, int node,
			  const char *where, struct fail *why)
{
	void *copy = calloc(1, p->table->size);
	int   rc;

	if (!copy)
		return fail_sys(why, "%s: %s", where, p->node);
	if (p->s)
		memcpy(copy, p->s, p->table->size);
	rc = state_load(p->table, copy, l->fdt, node, where, NULL, why);
	if (rc == 0 && p->s)
		return loader_keep(l, p, copy, why);
	free(copy);
	return rc;
}

/* The owner's node against the n sections in l->list: one to one. */
static int loader_node(struct state_loader *l, int owner, size_t n, const char *where,
		       struct fail *why)
{
	int         nodes[MACHINE_SECTIONS_MAX];
	const char *other;

	if (machine_section_nodes(l->fdt, owner, l->list, n, where, nodes, &other, why))
		return -1;
	if (other)
		return fail_set(why, FAIL_VERSION, "%s: state '%s' not part of this machine", where,
				other);
	for (size_t i = 0; i < n; i++)
		if (loader_section(l, &l->list[i], nodes[i], where, why))
			return -1;
	return 0;
}

static int loader_owner(void *arg, enum machine_owner kind, uint32_t i, int node, const char *where,
			struct fail *why)
{
	struct state_loader *l = arg;
	size_t               n;

	if (l->sections && machine_live_sections(l->m, l->sections, kind, i, where, l->list, &n,
						 why))
		return -1;
	if (!l->sections && machine_required_sections(l->m, kind, i, l->list, &n, why))
		return fail_prefix(why, "%s: ", where);
	return loader_node(l, node, n, where, why);
}

int machine_load_state(const struct machine *m, const struct machine_sections *sections,
		       const void *fdt, size_t len, struct fail *why)
{
	struct state_loader l    = { .m = m, .sections = sections };
	void               *tree = NULL;
	int                 rc   = -1;

	if (tree_open(&tree, fdt, len, why))
		return -1;
	l.fdt  = tree;
	l.list = calloc(MACHINE_SECTIONS_MAX, sizeof(*l.list));
	if (!l.list) {
		fail_sys(why, "VM tree: sections");
		goto out;
	}
	if (machine_owners(m, tree, loader_owner, &l, why))
		goto out;
	for (size_t i = 0; i < l.ncopies; i++)
		memcpy(l.copies[i].s, l.copies[i].copy, l.copies[i].size);
	rc = 0;
out:
	for (size_t i = 0; i < l.ncopies; i++)
		free(l.copies[i].copy);
	free(l.copies);
	free(l.list);
	free(tree);
	return rc;
}

int machine_check_state(const struct machine *m, const void *fdt, size_t len, struct fail *why)
{
	return machine_load_state(m, NULL, fdt, len, why);
}
