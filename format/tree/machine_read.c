/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/tree/tree.h"
#include "libcommon/bytes.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads the configuration of a checked tree. Unknown nodes and properties are passed over; what a
 * reader must know is in /needs. Every list is bounded while it is read, every number by
 * machine_check at the end. */

/* The node's name up to '@' is word. */
static bool read_is(const void *fdt, int node, const char *word)
{
	const char *name = fdt_get_name(fdt, node, NULL);
	size_t      len  = strlen(word);

	return name && strncmp(name, word, len) == 0 && (name[len] == '@' || name[len] == '\0');
}

/* The node has the one name that its content gives: two readers that go by name or by content see
 * the same. */
static int read_name_is(const void *fdt, int node, const char *want, struct fail *why)
{
	const char *name = fdt_get_name(fdt, node, NULL);

	if (!name || strcmp(name, want))
		return tree_fail(fdt, node, why, FAIL_CORRUPT, "expected the name %s", want);
	return 0;
}

static int read_child(const void *fdt, const char *name, int *node, struct fail *why)
{
	*node = tree_child(fdt, 0, name);
	if (*node < 0)
		return fail_set(why, FAIL_CORRUPT, "VM tree: missing /%s", name);
	return 0;
}

int machine_read_versions(const void *fdt, struct fail *why)
{
	uint32_t version, needs;

	if (tree_u32(fdt, 0, "version", &version, why) || tree_u32(fdt, 0, "needs", &needs, why))
		return -1;
	if (needs == 0 || needs > version)
		return fail_set(why, FAIL_CORRUPT, "VM tree: invalid version pair: version %" PRIu32
				", oldest reader %" PRIu32, version, needs);
	if (needs > TREE_KNOWN)
		return fail_set(why, FAIL_VERSION,
				"VM tree: unsupported version: needs reader version %" PRIu32
				", this build has %u", needs, TREE_KNOWN);
	return 0;
}

/* What only STATE has. */
static int read_not(const void *fdt, int node, const char *name, struct fail *why)
{
	if (tree_has(fdt, node, name))
		return tree_fail(fdt, node, why, FAIL_CORRUPT, "%s: valid in the state only", name);
	return 0;
}

static int read_no_state(const void *fdt, int node, struct fail *why)
{
	if (tree_child(fdt, node, "state") >= 0)
		return tree_fail(fdt, node, why, FAIL_CORRUPT,
				 "state: not valid in a configuration");
	return 0;
}

static int read_root(struct machine *m, const void *fdt, struct fail *why)
{
	char compatible[64];

	if (machine_read_versions(fdt, why) ||
	    tree_str(fdt, 0, "compatible", compatible, sizeof(compatible), why))
		return -1;
	for (unsigned i = 0; i < MACHINE_TYPES; i++) {
		if (strncmp(compatible, "vmferry,", 8) == 0 &&
		    strcmp(compatible + 8, machine_types[i].name) == 0) {
			m->type = (enum machine_type)i;
			return 0;
		}
	}
	return fail_set(why, FAIL_VERSION, "VM tree: machine '%s' not supported by this build",
			compatible);
}

/* Features that a reader must know (docs/format.md 8): none is defined, so the first one that is
 * well formed is one that this build does not have. */
static int read_features(const void *fdt, int node, struct fail *why)
{
	int         len;
	const char *p = fdt_getprop(fdt, node, "vmferry,features", &len);

	if (!p)
		return 0;
	if (len < 1 || p[len - 1] != '\0' || !machine_word_ok(p, (size_t)len < MACHINE_WORD_MAX ?
							       (size_t)len : MACHINE_WORD_MAX))
		return tree_fail(fdt, node, why, FAIL_CORRUPT,
				 "vmferry,features: not a list of names");
	return tree_fail(fdt, node, why, FAIL_VERSION,
			 "feature '%s' not supported by this build", p);
}

static int read_vm(struct machine *m, const void *fdt, struct fail *why)
{
	unsigned word = 0;
	int      node;

	if (read_child(fdt, "vm", &node, why))
		return -1;
	if (tree_str(fdt, node, "vmferry,name", m->name, sizeof(m->name), why) ||
	    tree_bytes(fdt, node, "uuid", m->uuid.b, sizeof(m->uuid.b), why) ||
	    tree_word(fdt, node, "on-reboot", reboot_policy_names, REBOOT_POLICIES, &word, why) ||
	    tree_str(fdt, node, "append", m->append, sizeof(m->append), why))
		return -1;
	m->on_reboot = (enum reboot_policy)word;
	return read_features(fdt, node, why) || read_no_state(fdt, node, why) ||
	       read_not(fdt, node, "vmferry,stopped", why) ||
	       read_not(fdt, node, "vmferry,reset-pending", why) ? -1 : 0;
}

/* A list of u32 cells, `each` to an entry, at most max entries: their number in *n. */
static int read_list(const void *fdt, int node, const char *name, uint32_t each, uint32_t max,
		     const uint8_t **cells, uint32_t *n, struct fail *why)
{
	int len;

	*cells = fdt_getprop(fdt, node, name, &len);
	if (!*cells)
		return tree_fail(fdt, node, why, FAIL_CORRUPT, "missing %s", name);
	if (len % (int)(4 * each))
		return tree_fail(fdt, node, why, FAIL_CORRUPT,
				 "%s: %d bytes, no multiple of %" PRIu32, name, len, 4 * each);
	*n = (uint32_t)len / (4 * each);
	if (*n > max)
		return tree_fail(fdt, node, why, FAIL_LIMIT,
				 "%s: %" PRIu32 " entries, above %" PRIu32, name, *n, max);
	return 0;
}

static int read_cpus_x86(struct machine *m, const void *fdt, int cpus, struct fail *why)
{
	const uint8_t *p;

	if (!machine_types[m->type].cpuid)
		return 0;
	if (read_list(fdt, cpus, "vmferry,cpuid", CPUID_CELLS, LIMIT_CPUID, &p, &m->ncpuid, why))
		return -1;
	for (uint32_t i = 0; i < m->ncpuid; i++, p += 4 * CPUID_CELLS)
		m->cpuid[i] = (struct machine_cpuid){
			.leaf  = get_be32(p),
			.index = get_be32(p + 4),
			.flags = get_be32(p + 8),
			.eax   = get_be32(p + 12),
			.ebx   = get_be32(p + 16),
			.ecx   = get_be32(p + 20),
			.edx   = get_be32(p + 24),
		};
	if (tree_u32(fdt, cpus, "vmferry,xsave-bytes", &m->xsave_bytes, why) ||
	    read_list(fdt, cpus, "vmferry,msrs", 1, LIMIT_MSRS, &p, &m->nmsrs, why))
		return -1;
	for (uint32_t i = 0; i < m->nmsrs; i++)
		m->msrs[i] = get_be32(p + 4 * (size_t)i);
	return 0;
}

/* CPUs are cpu@0, cpu@1 and so on, in this order and of one kind. */
static int read_cpus(struct machine *m, const void *fdt, struct fail *why)
{
	const char *model = machine_types[m->type].cpu_model_property;
	int         cpus, node;

	if (read_child(fdt, "cpus", &cpus, why) ||
	    tree_u64(fdt, cpus, "timebase-frequency", &m->timebase_hz, why) ||
	    read_cpus_x86(m, fdt, cpus, why))
		return -1;
	fdt_for_each_subnode(node, fdt, cpus) {
		char     cpu_model[sizeof(m->cpu_model)];
		char     want[16];
		uint32_t reg;

		if (!read_is(fdt, node, "cpu"))
			continue;
		if (m->ncpus == LIMIT_CPUS)
			return fail_set(why, FAIL_LIMIT, "VM tree: more than %u CPUs", LIMIT_CPUS);
		snprintf(want, sizeof(want), "cpu@%" PRIx32, m->ncpus);
		if (tree_u32(fdt, node, "reg", &reg, why) || read_name_is(fdt, node, want, why) ||
		    read_no_state(fdt, node, why))
			return -1;
		if (reg != m->ncpus)
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "reg is %" PRIu32, reg);
		memset(cpu_model, 0, sizeof(cpu_model));
		if (tree_str(fdt, node, model, cpu_model, sizeof(cpu_model), why))
			return -1;
		if (m->ncpus && strcmp(cpu_model, m->cpu_model))
			return tree_fail(fdt, node, why, FAIL_VERSION,
					 "%s differs from that of cpu@0", model);
		memcpy(m->cpu_model, cpu_model, sizeof(cpu_model));
		m->ncpus++;
	}
	return 0;
}

static int read_region(struct machine *m, const void *fdt, int node, struct fail *why)
{
	struct machine_region *r;
	uint64_t               reg[2] = { 0 };
	unsigned               word = 0;
	char                   want[MACHINE_NODE_MAX];

	if (m->nregions == LIMIT_REGIONS)
		return fail_set(why, FAIL_LIMIT, "VM tree: more than %u regions", LIMIT_REGIONS);
	r = &m->regions[m->nregions];
	if (tree_u32(fdt, node, "vmferry,region", &r->id, why) ||
	    tree_word(fdt, node, "vmferry,kind", region_kind_names, REGION_KINDS, &word, why) ||
	    tree_str(fdt, node, "vmferry,name", r->name, sizeof(r->name), why) ||
	    tree_u32(fdt, node, "vmferry,page-size", &r->page_size, why))
		return -1;
	r->kind = (enum region_kind)word;
	if (r->kind == REGION_DISK ? tree_u64(fdt, node, "vmferry,size", &reg[1],
					      why) : tree_cells(fdt, node, "reg", reg, 2, why))
		return -1;
	r->gpa  = reg[0];
	r->size = reg[1];
	machine_region_node(r, want);
	if (read_name_is(fdt, node, want, why))
		return -1;
	m->nregions++;
	return 0;
}

bool machine_is_region(const void *fdt, int node)
{
	return tree_has(fdt, node, "vmferry,region") || read_is(fdt, node, "memory");
}

static int read_regions(struct machine *m, const void *fdt, struct fail *why)
{
	int node;

	fdt_for_each_subnode(node, fdt, 0)
		if (machine_is_region(fdt, node) && read_region(m, fdt, node, why))
			return -1;
	return 0;
}

static int read_device(struct machine *m, const void *fdt, int node, struct fail *why)
{
	struct machine_device *d;
	uint64_t               reg[2];
	char                   want[MACHINE_NODE_MAX];

	if (m->ndevices == LIMIT_DEVICES)
		return fail_set(why, FAIL_LIMIT, "VM tree: more than %u devices", LIMIT_DEVICES);
	d       = &m->devices[m->ndevices];
	d->slot = SLOT_NONE;
	if (tree_str(fdt, node, "vmferry,type", d->type, sizeof(d->type), why) ||
	    tree_cells(fdt, node, "reg", reg, 2, why))
		return -1;
	d->gpa  = reg[0];
	d->size = reg[1];
	machine_device_node(d, want);
	if (read_name_is(fdt, node, want, why) || read_no_state(fdt, node, why))
		return -1;
	if (tree_has(fdt, node, "interrupts")) {
		if (tree_u32(fdt, node, "interrupts", &d->irq, why))
			return -1;
		if (d->irq == 0)
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "interrupt 0");
	}
	if (tree_has(fdt, node, "vmferry,slot")) {
		if (tree_u32(fdt, node, "vmferry,slot", &d->slot, why))
			return -1;
		if (d->slot == SLOT_NONE)
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "slot %" PRIu32, d->slot);
	}
	if (tree_has(fdt, node, "vmferry,host")) {
		if (tree_str(fdt, node, "vmferry,host", d->host, sizeof(d->host), why))
			return -1;
		if (d->host[0] == '\0')
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "vmferry,host: empty");
	}
	m->ndevices++;
	return 0;
}

static int read_soc(struct machine *m, const void *fdt, struct fail *why)
{
	int soc, node;

	if (read_child(fdt, "soc", &soc, why))
		return -1;
	fdt_for_each_subnode(node, fdt, soc)
		if (read_device(m, fdt, node, why))
			return -1;
	return 0;
}

/* Of an image they say which one the machine has; of anything else they are no part of it. */
static int read_host_facts(struct machine_host *h, const void *fdt, int node, struct fail *why)
{
	static const char *const state_only[] = { "size", "mtime", "digest", "instance",
						  "written" };
	const size_t             fixed = machine_host_fixed(h) ? 3 : 0;

	if (fixed && (tree_u64(fdt, node, "size", &h->size, why) ||
		      tree_u64(fdt, node, "mtime", &h->mtime_ns, why) ||
		      tree_bytes(fdt, node, "digest", h->digest, sizeof(h->digest), why)))
		return -1;
	for (size_t i = fixed; i < sizeof(state_only) / sizeof(state_only[0]); i++)
		if (read_not(fdt, node, state_only[i], why))
			return -1;
	return 0;
}

static int read_host(struct machine *m, const void *fdt, int node, struct fail *why)
{
	struct machine_host *h;
	unsigned             word = 0;
	int                  len;
	const char          *name = fdt_get_name(fdt, node, &len);

	if (m->nhosts == LIMIT_HOSTS)
		return fail_set(why, FAIL_LIMIT, "VM tree: more than %u host resources",
				LIMIT_HOSTS);
	h = &m->hosts[m->nhosts];
	if (!name || (size_t)len >= sizeof(h->name))
		return tree_fail(fdt, node, why, FAIL_LIMIT, "name too long: %d characters", len);
	memcpy(h->name, name, (size_t)len);
	if (tree_word(fdt, node, "class", host_class_names, HOST_CLASSES, &word, why) ||
	    tree_str(fdt, node, "path", h->path, sizeof(h->path), why))
		return -1;
	h->cls = (enum host_class)word;
	if (read_host_facts(h, fdt, node, why))
		return -1;
	h->readonly = tree_has(fdt, node, "read-only");
	m->nhosts++;
	return 0;
}

static int read_hosts(struct machine *m, const void *fdt, struct fail *why)
{
	int host, node;

	if (read_child(fdt, "host", &host, why))
		return -1;
	fdt_for_each_subnode(node, fdt, host)
		if (read_host(m, fdt, node, why))
			return -1;
	return 0;
}

int machine_read(struct machine *m, const void *fdt, size_t len, struct fail *why)
{
	struct machine *read = NULL;
	void           *tree = NULL;
	int             rc   = -1;

	if (tree_open(&tree, fdt, len, why))
		return -1;
	read = calloc(1, sizeof(*read));
	if (!read) {
		fail_sys(why, "VM tree: machine");
		goto out;
	}
	if (read_root(read, tree, why) || read_vm(read, tree, why) || read_cpus(read, tree, why) ||
	    read_regions(read, tree, why) || read_soc(read, tree, why) ||
		    read_hosts(read, tree, why))
		goto out;
	if (machine_check(read, why)) {
		fail_prefix(why, "VM tree: ");
		goto out;
	}
	*m = *read;
	rc = 0;
out:
	free(read);
	free(tree);
	return rc;
}
