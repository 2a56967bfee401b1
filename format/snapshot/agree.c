/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "format/tree/machine.h"

#include <inttypes.h>
#include <stdlib.h>

/* Header, configuration and state of a snapshot must describe the same VM (docs/format.md,
 * "Agreement"), so that what one program shows is what another opens. */

static int header_agrees(const struct snap_header *h, const struct machine *m, struct fail *why)
{
	char a[UUID_TEXT], b[UUID_TEXT];

	uuid_text(&h->vm, a);
	uuid_text(&m->uuid, b);
	if (h->arch != machine_types[m->type].elf_machine)
		return fail_set(why, FAIL_CORRUPT, "architecture %" PRIu32 ", machine type %s",
				h->arch, machine_type_name(m->type));
	if (!uuid_equal(&h->vm, &m->uuid))
		return fail_set(why, FAIL_CORRUPT, "UUID %s, %s", a, b);
	if (h->name[0] && strcmp(h->name, m->name))
		return fail_set(why, FAIL_CORRUPT, "name %s, %s", h->name, m->name);
	return 0;
}

/* All but what is of the moment: size, modification time and digest. */
static int hosts_agree(const struct machine *a, const struct machine *b, struct fail *why)
{
	if (a->nhosts != b->nhosts)
		return fail_set(why, FAIL_CORRUPT, "%" PRIu32 ", %" PRIu32 " host resources",
				a->nhosts, b->nhosts);
	for (uint32_t i = 0; i < a->nhosts; i++) {
		const struct machine_host *x = &a->hosts[i], *y = &b->hosts[i];

		if (strcmp(x->name, y->name))
			return fail_set(why, FAIL_CORRUPT,
					"host resource %" PRIu32 ": name %s, %s", i, x->name,
					y->name);
		if (x->cls != y->cls)
			return fail_set(why, FAIL_CORRUPT, "host resource %s: class %s, %s",
					x->name, host_class_names[x->cls],
					host_class_names[y->cls]);
		if (strcmp(x->path, y->path))
			return fail_set(why, FAIL_CORRUPT, "host resource %s: paths differ",
					x->name);
		if (x->readonly != y->readonly)
			return fail_set(why, FAIL_CORRUPT,
					"host resource %s: read-only differs", x->name);
	}
	return 0;
}

static int state_agrees(const struct machine *a, const struct machine *b, struct fail *why)
{
	char x[UUID_TEXT], y[UUID_TEXT];

	uuid_text(&a->uuid, x);
	uuid_text(&b->uuid, y);
	if (strcmp(a->name, b->name))
		return fail_set(why, FAIL_CORRUPT, "name %s, %s", a->name, b->name);
	if (!uuid_equal(&a->uuid, &b->uuid))
		return fail_set(why, FAIL_CORRUPT, "UUID %s, %s", x, y);
	if (a->on_reboot != b->on_reboot)
		return fail_set(why, FAIL_CORRUPT, "on-reboot %s, %s",
				reboot_policy_names[a->on_reboot],
				reboot_policy_names[b->on_reboot]);
	if (strcmp(a->append, b->append))
		return fail_set(why, FAIL_CORRUPT, "append: command lines differ");
	if (machine_same_shape(a, b, why)) {
		why->kind = FAIL_CORRUPT;
		return -1;
	}
	return hosts_agree(a, b, why);
}

int snap_agree(const struct snap_header *h, const struct machine *config,
	       const struct machine *state, struct fail *why)
{
	if (h && header_agrees(h, config, why))
		return fail_prefix(why, "header and configuration differ: ");
	if (config->reset_pending)
		return fail_set(why, FAIL_CORRUPT,
				"configuration: vmferry,reset-pending is valid in the state only");
	if (state && state_agrees(config, state, why))
		return fail_prefix(why, "configuration and state differ: ");
	return 0;
}

static int tree_at(const char *chunk, uint64_t at, struct fail *why)
{
	if (!why->has_at && why->kind != FAIL_SYSTEM)
		fail_locate(why, at);
	return fail_prefix(why, "%s chunk: ", chunk);
}

int agree_config(const struct snap_header *h, const void *fdt, size_t len, uint64_t at,
		 struct machine **out, uint64_t npages[LIMIT_REGIONS], struct fail *why)
{
	struct machine *m = malloc(sizeof(*m));

	if (!m)
		return fail_sys(why, "configuration");
	if (machine_read(m, fdt, len, why) || snap_agree(h, m, NULL, why)) {
		free(m);
		return tree_at("config", at, why);
	}
	memset(npages, 0, LIMIT_REGIONS * sizeof(*npages));
	/* A disk's blocks have chunks of their own. */
	for (uint32_t i = 0; i < m->nregions; i++)
		if (m->regions[i].kind != REGION_DISK)
			npages[m->regions[i].id] = m->regions[i].size / PAGE_SIZE_4K;
	*out = m;
	return 0;
}

int agree_state(const struct machine *config, const void *fdt, size_t len, uint64_t at,
		struct fail *why)
{
	struct machine *m = malloc(sizeof(*m));
	int             rc;

	if (!m)
		return fail_sys(why, "state");
	rc = machine_read(m, fdt, len, why);
	if (rc == 0)
		rc = snap_agree(NULL, config, m, why);
	if (rc)
		tree_at("state", at, why);
	free(m);
	return rc;
}
