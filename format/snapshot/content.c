/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"

#include <inttypes.h>
#include <stdlib.h>

/* docs/format.md, "Content digest". It is about the guest's bytes, not about how a file came to
 * name them: a page that is untouched, zero, or data that happens to be zero counts as the same. */

struct content {
	struct pagemap *region[LIMIT_REGIONS];
	uint64_t        zero_hash;      /* of a page of zeroes */
};

int content_open(struct content **out, struct fail *why)
{
	static const uint8_t zero[PAGE_SIZE_4K];
	struct content      *c = calloc(1, sizeof(*c));

	if (!c)
		return fail_sys(why, "content digest");
	c->zero_hash = XXH3_64bits(zero, sizeof(zero));
	*out = c;
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

int content_pages_at(struct content *c, const struct page_batch *b, const uint64_t *hashes,
		     uint64_t chunk_at, struct fail *why)
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
			struct pagemap_entry e = { .hash = hashes[slot],
						   .where = chunk_at << PAGEMAP_SLOT_BITS | slot };

			if (pagemap_set_data(m, r->first + k, &e, why))
				return -1;
		}
	}
	return 0;
}

int content_pages(struct content *c, const struct page_batch *b, const uint64_t *hashes,
		  struct fail *why)
{
	return content_pages_at(c, b, hashes, 0, why);
}

struct leaves {
	XXH3_state_t *x;
	uint64_t      zero_hash;
};

static void leaf_digest(void *arg, uint64_t leaf, const uint64_t hashes[BATCH_PAGES])
{
	struct leaves *s = arg;
	uint8_t        bytes[BATCH_PAGES * 8], rec[8 + 16];
	bool           blank = true;

	for (uint32_t i = 0; i < BATCH_PAGES; i++) {
		put_le64(bytes + (size_t)i * 8, hashes[i]);
		blank = blank && hashes[i] == s->zero_hash;
	}
	if (blank)
		return;
	put_le64(rec, leaf);
	digest_put(rec + 8, XXH3_128bits(bytes, sizeof(bytes)));
	XXH3_128bits_update(s->x, rec, sizeof(rec));
}

int content_digest(struct content *c, const void *config, size_t config_len, const void *state,
		   size_t state_len, uint8_t out[16], struct fail *why)
{
	XXH3_state_t *x = XXH3_createState();
	uint8_t       top[8 + LIMIT_REGIONS * 16 + 2 * 24], *p = top + 8;
	uint32_t      nregions = 0;

	if (!x)
		return fail_set(why, FAIL_SYSTEM, "out of memory");
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++) {
		struct leaves s = { .x = x, .zero_hash = c->zero_hash };
		uint8_t       rec[16] = { 0 };

		if (!c->region[id])
			continue;
		put_le32(rec, id);
		put_le64(rec + 8, pagemap_pages(c->region[id]));
		XXH3_128bits_reset(x);
		XXH3_128bits_update(x, rec, sizeof(rec));
		pagemap_leaves(c->region[id], c->zero_hash, leaf_digest, &s);
		digest_put(p, XXH3_128bits_digest(x));
		p += 16;
		nregions++;
	}
	put_le32(top, nregions);
	put_le32(top + 4, 0);
	put_le64(p, config_len);
	digest_put(p + 8, XXH3_128bits(config, config_len));
	put_le64(p + 24, state_len);
	digest_put(p + 32, XXH3_128bits(state, state_len));
	digest_put(out, XXH3_128bits(top, (size_t)(p - top) + 48));
	XXH3_freeState(x);
	return 0;
}
