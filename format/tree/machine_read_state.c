/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/tree/tree.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

/* STATE against CONFIG (docs/format.md 8, "Agreement"): it names what CONFIG has, repeats nothing
 * of it, and has what a machine of that kind must have. Then the facts of the pause. What is in the
 * state sections is machine_state.c's business. */

/* The properties that CONFIG has in a node of each kind, NULL at the end. */
static const char *const config_root[] = { "compatible", "model", "#address-cells", "#size-cells",
					   NULL };
static const char *const config_vm[]   = { "vmferry,name", "uuid", "on-reboot", "append",
					   "vmferry,features", NULL };
static const char *const config_cpus[] = { "timebase-frequency", "vmferry,cpuid",
					   "vmferry,xsave-bytes", "vmferry,msrs", "#address-cells",
					   "#size-cells", NULL };
static const char *const config_cpu[]  = { "reg", "riscv,isa", "vmferry,cpu-model", "device_type",
					   "compatible", NULL };
static const char *const config_soc[]  = { "compatible", "ranges", "interrupt-parent",
					   "interrupt-controller", "#interrupt-cells",
					   "#address-cells", "#size-cells", NULL };
static const char *const config_device[] = { "vmferry,type", "reg", "interrupts", "vmferry,slot",
					     "vmferry,host", "compatible", "interrupt-controller",
					     "#interrupt-cells", "#address-cells", "phandle",
					     NULL };
static const char *const config_host[] = { "class", "path", "read-only", NULL };

static int state_repeats(const void *fdt, int node, const char *const *config, struct fail *why)
{
	for (; node >= 0 && *config; config++)
		if (tree_has(fdt, node, *config))
			return tree_fail(fdt, node, why, FAIL_CORRUPT,
					 "%s: repeats the configuration", *config);
	return 0;
}

static int state_repeats_all(const struct machine *m, const void *fdt, const struct state_nodes *n,
			     struct fail *why)
{
	int node;

	if (state_repeats(fdt, 0, config_root, why) || state_repeats(fdt, n->vm, config_vm, why) ||
	    state_repeats(fdt, n->cpus, config_cpus, why) ||
	    state_repeats(fdt, n->soc, config_soc, why))
		return -1;
	for (uint32_t i = 0; i < m->ncpus; i++)
		if (state_repeats(fdt, n->cpu[i], config_cpu, why))
			return -1;
	for (uint32_t i = 0; i < m->ndevices; i++)
		if (state_repeats(fdt, n->device[i], config_device, why))
			return -1;
	fdt_for_each_subnode(node, fdt, 0)
		if (machine_is_region(fdt, node))
			return tree_fail(fdt, node, why, FAIL_CORRUPT,
					 "region: repeats the configuration");
	return 0;
}

/* A flag: there or not, without a value. */
static int state_flag(const void *fdt, int node, const char *name, bool *v, struct fail *why)
{
	uint8_t none;

	*v = tree_has(fdt, node, name);
	return *v ? tree_bytes(fdt, node, name, &none, 0, why) : 0;
}

/* A guest that waits for a reset must not run before it is done: only a user can make it go on. */
static int state_vm(struct machine *m, const void *fdt, int vm, struct fail *why)
{
	if (state_flag(fdt, vm, "vmferry,stopped", &m->stopped, why) ||
	    state_flag(fdt, vm, "vmferry,reset-pending", &m->reset_pending, why))
		return -1;
	if (m->reset_pending && !m->stopped)
		return tree_fail(fdt, vm, why, FAIL_CORRUPT,
				 "vmferry,reset-pending without vmferry,stopped");
	return 0;
}

static int state_disk(struct machine_host *h, const void *fdt, int node, struct fail *why)
{
	if (state_repeats(fdt, node, config_host, why) ||
	    tree_u64(fdt, node, "size", &h->size, why) ||
	    tree_u64(fdt, node, "mtime", &h->mtime_ns, why) ||
	    tree_bytes(fdt, node, "digest", h->digest, sizeof(h->digest), why))
		return -1;
	memset(h->instance, 0, sizeof(h->instance));
	h->written = 0;
	if (!tree_has(fdt, node, "instance") && !tree_has(fdt, node, "written"))
		return 0;
	return tree_bytes(fdt, node, "instance", h->instance, sizeof(h->instance), why) ||
	       tree_u64(fdt, node, "written", &h->written, why) ? -1 : 0;
}

static int state_disks(struct machine *m, const void *fdt, struct fail *why)
{
	bool found[LIMIT_HOSTS] = { false };
	int  host = tree_child(fdt, 0, "host"), node;

	if (host >= 0) {
		fdt_for_each_subnode(node, fdt, host) {
			const char          *name = fdt_get_name(fdt, node, NULL);
			struct machine_host *h    = machine_host_find(m, name ? name : "");

			if (!h)
				return tree_fail(fdt, node, why, FAIL_CORRUPT,
						 "not in the configuration");
			if (h->cls != HOST_DISK)
				return tree_fail(fdt, node, why, FAIL_CORRUPT,
						 "not a disk in the configuration");
			if (state_disk(h, fdt, node, why))
				return -1;
			found[h - m->hosts] = true;
		}
	}
	for (uint32_t i = 0; i < m->nhosts; i++)
		if (m->hosts[i].cls == HOST_DISK && !found[i])
			return fail_set(why, FAIL_CORRUPT, "VM tree: missing /host/%s",
					m->hosts[i].name);
	return 0;
}

struct state_presence {
	const struct machine *m;
	const void           *fdt;
	struct state_section *list;      /* MACHINE_SECTIONS_MAX */
};

/* Of a device of a type that this build does not know it cannot say what must be there. */
static int state_present(void *arg, enum machine_owner kind, uint32_t i, int node,
			 const char *where, struct fail *why)
{
	struct state_presence *p = arg;
	struct fail            unknown = { 0 };
	size_t                 n;
	int                    nodes[MACHINE_SECTIONS_MAX];
	const char            *other;

	if (machine_required_sections(p->m, kind, i, p->list, &n, &unknown)) {
		if (unknown.kind == FAIL_VERSION)
			return 0;
		*why = unknown;
		return -1;
	}
	return machine_section_nodes(p->fdt, node, p->list, n, where, nodes, &other, why);
}

static int state_read(struct machine *m, const void *fdt, struct fail *why)
{
	struct state_nodes    nodes;
	struct state_presence p = { .m = m, .fdt = fdt };
	int                   rc;

	if (machine_read_versions(fdt, why) || machine_state_nodes(m, fdt, &nodes, why) ||
	    state_repeats_all(m, fdt, &nodes, why) || state_vm(m, fdt, nodes.vm, why) ||
	    state_disks(m, fdt, why))
		return -1;
	p.list = calloc(MACHINE_SECTIONS_MAX, sizeof(*p.list));
	if (!p.list)
		return fail_sys(why, "VM tree: sections");
	rc = machine_owners(m, fdt, state_present, &p, why);
	free(p.list);
	return rc;
}

int machine_read_state(struct machine *m, const void *fdt, size_t len, struct fail *why)
{
	struct machine *read = NULL;
	void           *tree = NULL;
	int             rc   = -1;

	if (tree_open(&tree, fdt, len, why))
		return -1;
	read = malloc(sizeof(*read));
	if (!read) {
		fail_sys(why, "VM tree: machine");
		goto out;
	}
	*read = *m;
	if (state_read(read, tree, why))
		goto out;
	*m = *read;
	rc = 0;
out:
	free(read);
	free(tree);
	return rc;
}
