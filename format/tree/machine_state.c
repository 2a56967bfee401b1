/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/tree/tree.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- who has state: one pass over the tree, unknown nodes between them skipped --- */

static int owner_child(const void *fdt, const char *name, int *node, struct fail *why)
{
	*node = fdt_subnode_offset(fdt, 0, name);
	if (*node < 0)
		return fail_set(why, FAIL_CORRUPT, "VM tree: missing /%s", name);
	return 0;
}

static int owner_cpus(const struct machine *m, const void *fdt, machine_owner_fn *fn, void *arg,
		      struct fail *why)
{
	uint32_t n = 0;
	int      cpus, node;
	char     want[MACHINE_NODE_MAX] = "cpu@0";

	if (owner_child(fdt, "cpus", &cpus, why))
		return -1;
	fdt_for_each_subnode(node, fdt, cpus) {
		const char *name = fdt_get_name(fdt, node, NULL);

		if (n == m->ncpus)
			return 0;
		if (!name || strcmp(name, want))
			continue;
		if (fn(arg, OWNER_CPU, n, node, want, why))
			return -1;
		snprintf(want, sizeof(want), "cpu@%" PRIx32, ++n);
	}
	if (n == m->ncpus)
		return 0;
	return fail_set(why, FAIL_CORRUPT, "VM tree: missing /cpus/%s", want);
}

static int owner_devices(const struct machine *m, const void *fdt, machine_owner_fn *fn, void *arg,
			 struct fail *why)
{
	uint32_t n = 0;
	int      soc, node;
	char     want[MACHINE_NODE_MAX];

	if (owner_child(fdt, "soc", &soc, why))
		return -1;
	fdt_for_each_subnode(node, fdt, soc) {
		const char *name = fdt_get_name(fdt, node, NULL);

		if (n == m->ndevices)
			return 0;
		machine_device_node(&m->devices[n], want);
		if (!name || strcmp(name, want))
			break;
		if (fn(arg, OWNER_DEVICE, n++, node, want, why))
			return -1;
	}
	if (n == m->ndevices)
		return 0;
	machine_device_node(&m->devices[n], want);
	return fail_set(why, FAIL_CORRUPT, "VM tree: missing /soc/%s", want);
}

int machine_owners(const struct machine *m, const void *fdt, machine_owner_fn *fn, void *arg,
		   struct fail *why)
{
	int vm;

	if (owner_child(fdt, "vm", &vm, why) || fn(arg, OWNER_VM, 0, vm, "vm", why))
		return -1;
	return owner_cpus(m, fdt, fn, arg, why) ? -1 : owner_devices(m, fdt, fn, arg, why);
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

/* Each child of the `state` node under `owner` against the n sections in l->list: one to one. */
static int loader_node(struct state_loader *l, int owner, size_t n, const char *where,
		       struct fail *why)
{
	bool found[MACHINE_SECTIONS_MAX] = { false };
	int  state = fdt_subnode_offset(l->fdt, owner, "state"), node;

	if (state < 0)
		return n ? fail_set(why, FAIL_CORRUPT, "%s: missing state", where) : 0;
	fdt_for_each_subnode(node, l->fdt, state) {
		const char *name = fdt_get_name(l->fdt, node, NULL);
		size_t      i    = 0;

		while (i < n && (!name || strcmp(l->list[i].node, name)))
			i++;
		if (i == n)
			return fail_set(why, FAIL_VERSION,
					"%s: state '%s' not part of this machine", where,
					name ? name : "?");
		if (found[i])
			return fail_set(why, FAIL_CORRUPT, "%s: duplicate %s", where, name);
		if (loader_section(l, &l->list[i], node, where, why))
			return -1;
		found[i] = true;
	}
	for (size_t i = 0; i < n; i++)
		if (!found[i])
			return fail_set(why, FAIL_CORRUPT, "%s: missing %s", where,
					l->list[i].node);
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
