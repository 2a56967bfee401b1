/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* The latest occurrence of each page of each region: its kind, hash and place. */

struct content {
	struct pagemap *region[LIMIT_REGIONS];
};

int content_open(struct content **out, struct fail *why)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return fail_sys(why, "page table");
	return 0;
}

void content_close(struct content *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < LIMIT_REGIONS; i++)
		pagemap_close(c->region[i]);
	free(c);
}

int content_region(struct content *c, uint32_t id, uint64_t npages, struct fail *why)
{
	if (id >= LIMIT_REGIONS)
		return fail_set(why, FAIL_LIMIT, "region %" PRIu32 " out of range (limit: %u)", id,
				LIMIT_REGIONS);
	if (c->region[id])
		return fail_set(why, FAIL_CORRUPT, "duplicate region %" PRIu32, id);
	return pagemap_open(&c->region[id], npages, why);
}

const struct pagemap *content_map(const struct content *c, uint32_t region)
{
	return region < LIMIT_REGIONS ? c->region[region] : NULL;
}

bool content_has(const struct content *c, uint32_t region)
{
	return content_map(c, region) != NULL;
}

int content_pages_at(struct content *c, const struct page_batch *b, uint64_t chunk_at,
		     struct fail *why)
{
	struct pagemap *m = b->region < LIMIT_REGIONS ? c->region[b->region] : NULL;
	uint32_t        slot = 0;

	if (!m)
		return fail_set(why, FAIL_CORRUPT,
				"pages of region %" PRIu32 ", not in the configuration", b->region);
	for (uint32_t i = 0; i < b->nruns; i++) {
		const struct page_run *r = &b->runs[i];

		if (r->first > pagemap_pages(m) || r->count > pagemap_pages(m) - r->first)
			return fail_set(why, FAIL_CORRUPT,
					"page numbers out of range of region %" PRIu32, b->region);
		if (r->kind == PAGE_ZERO) {
			if (pagemap_set_zero(m, r->first, r->count, why))
				return -1;
			continue;
		}
		for (uint32_t k = 0; k < r->count; k++, slot++) {
			struct pagemap_entry e = { .hash = b->hashes[slot],
						   .where = chunk_at << PAGEMAP_SLOT_BITS | slot };

			if (pagemap_set_data(m, r->first + k, &e, why))
				return -1;
		}
	}
	return 0;
}

int content_set_data(struct content *c, uint32_t region, uint64_t first, uint32_t count,
		     const uint64_t *hashes, struct fail *why)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pagemap_entry e = { .hash = hashes[i] };

		if (pagemap_set_data(c->region[region], first + i, &e, why))
			return -1;
	}
	return 0;
}

int content_set_zero(struct content *c, uint32_t region, uint64_t first, uint64_t count,
		     struct fail *why)
{
	return pagemap_set_zero(c->region[region], first, count, why);
}

int content_pages(struct content *c, const struct page_batch *b, struct fail *why)
{
	return content_pages_at(c, b, 0, why);
}
