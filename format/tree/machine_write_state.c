/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/tree/tree_put.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes STATE, in the order of docs/format.md 8, "State": nothing of it is in CONFIG. */
struct state_writer {
	struct tree_put                w;
	const struct machine          *m;
	const struct machine_sections *sections;
	struct state_section          *list;       /* MACHINE_SECTIONS_MAX */
};

/* The `state` node of an owner, inside its own node: begin_owner of NULL: that is there already,
 * else the owner's node is made around it. Without sections there is neither. dtc wants
 * #address-cells where children have unit addresses, and only there. */
static int state_owner(struct state_writer *s, enum machine_owner kind, uint32_t owner,
		       const char *begin_owner, const char *where, struct fail *why)
{
	struct tree_put *w     = &s->w;
	bool             units = false;
	size_t           n;

	if (w->err)
		return 0;
	if (machine_live_sections(s->m, s->sections, kind, owner, where, s->list, &n, why))
		return -1;
	if (n == 0)
		return 0;
	if (begin_owner)
		put_begin(w, begin_owner);
	put_begin(w, "state");
	for (size_t i = 0; i < n; i++)
		units |= strchr(s->list[i].node, '@') != NULL;
	if (units)
		put_cells(w, 1, 0);
	for (size_t i = 0; !w->err && i < n; i++)
		if (state_save(s->list[i].table, s->list[i].s, s->list[i].node, w->fdt, why))
			return fail_prefix(why, "%s: ", where);
	put_end(w);
	if (begin_owner)
		put_end(w);
	return 0;
}

static int state_owners(struct state_writer *s, struct fail *why)
{
	struct tree_put *w = &s->w;
	char             node[MACHINE_NODE_MAX];

	put_begin(w, "vm");
	if (s->sections->stopped)
		put_bytes(w, "vmferry,stopped", NULL, 0);
	if (s->sections->reset_pending)
		put_bytes(w, "vmferry,reset-pending", NULL, 0);
	if (state_owner(s, OWNER_VM, 0, NULL, "vm", why))
		return -1;
	put_end(w);
	put_begin(w, "cpus");
	for (uint32_t i = 0; i < s->m->ncpus; i++) {
		snprintf(node, sizeof(node), "cpu@%" PRIx32, i);
		if (state_owner(s, OWNER_CPU, i, node, node, why))
			return -1;
	}
	put_end(w);
	put_begin(w, "soc");
	for (uint32_t i = 0; i < s->m->ndevices; i++) {
		machine_device_node(&s->m->devices[i], node);
		if (state_owner(s, OWNER_DEVICE, i, node, node, why))
			return -1;
	}
	put_end(w);
	return 0;
}

static void state_disks(struct state_writer *s)
{
	static const uint8_t nil[sizeof(((struct machine_host *)0)->instance)];
	struct tree_put     *w = &s->w;

	put_begin(w, "host");
	for (uint32_t i = 0; i < s->m->nhosts; i++) {
		const struct machine_host *h = &s->m->hosts[i];

		if (h->cls != HOST_DISK)
			continue;
		put_begin(w, h->name);
		put_u64(w, "size", h->size);
		put_u64(w, "mtime", h->mtime_ns);
		put_bytes(w, "digest", h->digest, sizeof(h->digest));
		if (memcmp(h->instance, nil, sizeof(nil))) {
			put_bytes(w, "instance", h->instance, sizeof(h->instance));
			put_u64(w, "written", h->written);
		}
		put_end(w);
	}
	put_end(w);
}

int machine_write_state(const struct machine *m, const struct machine_sections *sections,
			void *buf, size_t capacity, size_t *len, struct fail *why)
{
	struct state_writer s  = { .m = m, .sections = sections };
	int                 rc = -1;

	if (tree_put_open(&s.w, buf, capacity, why) || machine_check(m, why))
		return -1;
	if (sections->reset_pending && !sections->stopped)
		return fail_set(why, FAIL_USAGE, "VM tree: reset pending of a VM that is not "
				"stopped");
	s.list = calloc(MACHINE_SECTIONS_MAX, sizeof(*s.list));
	if (!s.list)
		return fail_sys(why, "VM tree: sections");
	tree_put_root(&s.w);
	if (state_owners(&s, why) == 0) {
		state_disks(&s);
		rc = tree_put_close(&s.w, len, why);
	}
	free(s.list);
	return rc;
}
