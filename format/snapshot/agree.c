/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "format/tree/machine.h"

#include <inttypes.h>
#include <stdlib.h>

/* Header, configuration and state of a snapshot must describe one VM (docs/format.md 8,
 * "Agreement"). Configuration and state have nothing in common that could differ: the state must
 * name what the configuration has, which machine_read_state checks. */

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
	if (strcmp(h->name, m->name))
		return fail_set(why, FAIL_CORRUPT, "name %s, %s", h->name, m->name);
	return 0;
}

int snap_agree(const struct snap_header *h, const struct machine *config, struct fail *why)
{
	if (header_agrees(h, config, why))
		return fail_prefix(why, "header and configuration differ: ");
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
	if (machine_read(m, fdt, len, why) || (h && snap_agree(h, m, why))) {
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
	*m = *config;
	rc = machine_read_state(m, fdt, len, why);
	if (rc)
		tree_at("state", at, why);
	free(m);
	return rc;
}
