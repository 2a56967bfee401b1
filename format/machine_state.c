#include "format/machine_internal.h"
#include "format/tree.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Loading is all or nothing for the whole machine: each part is read into a copy, and only when all of them stand are
 * they copied over the live ones. */
struct state_copy {
	void  *s;
	void  *copy;
	size_t size;
};

struct state_loader {
	const void        *fdt;
	struct state_part *list;        /* MACHINE_PARTS_MAX */
	struct state_copy *copies;
	size_t             ncopies, room;
};

/* Takes over copy. */
static int loader_keep(struct state_loader *l, const struct state_part *p, void *copy, struct fail *why)
{
	if (l->ncopies == l->room) {
		size_t             room = l->room ? 2 * l->room : 64;
		struct state_copy *v    = realloc(l->copies, room * sizeof(*v));

		if (!v) {
			free(copy);
			return fail_sys(why, "VM tree: state");
		}
		l->copies = v;
		l->room   = room;
	}
	l->copies[l->ncopies++] = (struct state_copy){ .s = p->s, .copy = copy, .size = p->table->size };
	return 0;
}

static int loader_part(struct state_loader *l, const struct state_part *p, int node, const char *where, struct fail *why)
{
	void *copy = malloc(p->table->size);

	if (!copy)
		return fail_sys(why, "%s: %s", where, p->node);
	memcpy(copy, p->s, p->table->size);
	if (state_load(p->table, copy, l->fdt, node, where, NULL, why)) {
		free(copy);
		return -1;
	}
	return loader_keep(l, p, copy, why);
}

/* Each child of the `state` node under `owner` against the n parts in l->list: one to one. */
static int loader_node(struct state_loader *l, int owner, size_t n, const char *where, struct fail *why)
{
	bool found[MACHINE_PARTS_MAX] = { false };
	int  state, node;

	if (n > MACHINE_PARTS_MAX)
		return fail_set(why, FAIL_LIMIT, "%s: %zu parts of state, above %u", where, n, MACHINE_PARTS_MAX);
	state = fdt_subnode_offset(l->fdt, owner, "state");
	if (state < 0)
		return n ? fail_set(why, FAIL_CORRUPT, "%s: no state in the tree", where) : 0;
	fdt_for_each_subnode(node, l->fdt, state) {
		const char *name = fdt_get_name(l->fdt, node, NULL);
		size_t      i    = 0;

		while (i < n && (!name || strcmp(l->list[i].node, name)))
			i++;
		if (i == n)
			return fail_set(why, FAIL_VERSION, "%s: state of '%s', which this machine does not have", where, name ? name : "?");
		if (found[i])
			return fail_set(why, FAIL_CORRUPT, "%s: %s is there twice", where, name);
		if (loader_part(l, &l->list[i], node, where, why))
			return -1;
		found[i] = true;
	}
	for (size_t i = 0; i < n; i++)
		if (!found[i])
			return fail_set(why, FAIL_CORRUPT, "%s: %s is missing", where, l->list[i].node);
	return 0;
}

static int loader_at(struct state_loader *l, const char *path, size_t n, const char *where, struct fail *why)
{
	int node = fdt_path_offset(l->fdt, path);

	if (node < 0)
		return fail_set(why, FAIL_CORRUPT, "VM tree: %s is missing", path);
	return loader_node(l, node, n, where, why);
}

static int loader_all(struct state_loader *l, const struct machine *m, const struct machine_parts *p, struct fail *why)
{
	char path[TREE_PATH_MAX], node[MACHINE_NODE_MAX];

	if (loader_at(l, "/vm", p->vm ? p->vm(p->arg, l->list, MACHINE_PARTS_MAX) : 0, "vm", why))
		return -1;
	for (uint32_t i = 0; i < m->ncpus; i++) {
		snprintf(node, sizeof(node), "cpu@%" PRIx32, i);
		snprintf(path, sizeof(path), "/cpus/%s", node);
		if (loader_at(l, path, p->cpu ? p->cpu(p->arg, i, l->list, MACHINE_PARTS_MAX) : 0, node, why))
			return -1;
	}
	for (uint32_t i = 0; i < m->ndevices; i++) {
		machine_device_node(&m->devices[i], node);
		snprintf(path, sizeof(path), "/soc/%s", node);
		if (loader_at(l, path, p->device ? p->device(p->arg, i, l->list, MACHINE_PARTS_MAX) : 0, node, why))
			return -1;
	}
	return 0;
}

int machine_load_state(const struct machine *m, const struct machine_parts *parts, const void *fdt, size_t len,
		       struct fail *why)
{
	struct state_loader l    = { 0 };
	void               *tree = NULL;
	int                 rc   = -1;

	if (tree_open(&tree, fdt, len, why))
		return -1;
	l.fdt  = tree;
	l.list = calloc(MACHINE_PARTS_MAX, sizeof(*l.list));
	if (!l.list) {
		fail_sys(why, "VM tree: parts");
		goto out;
	}
	if (loader_all(&l, m, parts, why))
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

int machine_state_node(const void *fdt, const char *path)
{
	int node = fdt_path_offset(fdt, path);

	return node < 0 ? node : fdt_subnode_offset(fdt, node, "state");
}
