#include "format/snapshot_internal.h"

#include "format/machine.h"

#include <stdlib.h>

int config_regions(const void *fdt, size_t len, uint64_t at, uint64_t npages[LIMIT_REGIONS], struct fail *why)
{
	struct machine *m = malloc(sizeof(*m));
	int             rc = -1;

	if (!m)
		return fail_sys(why, "configuration");
	if (machine_read(m, fdt, len, why)) {
		if (why->at == FAIL_NOWHERE)
			why->at = at;
		fail_prefix(why, "config chunk: ");
		goto out;
	}
	memset(npages, 0, LIMIT_REGIONS * sizeof(*npages));
	for (uint32_t i = 0; i < m->nregions; i++) {
		const struct machine_region *r = &m->regions[i];

		/* A disk's blocks have chunks of their own. */
		if (r->kind == REGION_DISK)
			continue;
		if (r->id >= LIMIT_REGIONS || npages[r->id] || r->size == 0 || r->size > LIMIT_REGION_BYTES || r->size % PAGE_SIZE_4K) {
			fail_at(why, FAIL_CORRUPT, at, "config chunk: region %u is not possible", r->id);
			goto out;
		}
		npages[r->id] = r->size / PAGE_SIZE_4K;
	}
	rc = 0;
out:
	free(m);
	return rc;
}
