/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"
#include "format/tree/tree.h"

#include "libcommon/array.h"
#include "libcommon/bytes.h"

#include <stdlib.h>

/* docs/format.md 7. Digests are about the guest's bytes, not about how a file came to name them: a
 * page that is untouched, zero, or data that happens to be zero counts as the same. */

struct leaf_digest { uint64_t leaf; uint8_t digest[16]; };

struct region_digest {
	uint32_t id;
	uint64_t npages;
	uint8_t  digest[16];
	size_t   first, n;      /* of the leaves */
};

struct digests {
	struct region_digest regions[LIMIT_REGIONS];
	uint32_t             nregions;
	struct leaf_digest  *leaves;
	size_t               n, capacity;
	uint64_t             zero_hash;      /* of a page of zeroes */
	bool                 no_memory;
	uint8_t              memory[16];
};

static void leaf_put(uint8_t out[DIGESTS_LEAF_BYTES], const struct leaf_digest *l)
{
	put_le64(out, l->leaf);
	memcpy(out + 8, l->digest, 16);
}

static void leaf_note(void *arg, uint64_t leaf, const uint64_t hashes[BATCH_PAGES])
{
	struct digests *d = arg;
	uint8_t         bytes[BATCH_PAGES * 8];
	bool            blank = true;

	for (uint32_t i = 0; i < BATCH_PAGES; i++) {
		put_le64(bytes + (size_t)i * 8, hashes[i]);
		blank = blank && hashes[i] == d->zero_hash;
	}
	if (blank)
		return;
	if (d->n == d->capacity) {
		struct leaf_digest *more = array_grow(d->leaves, &d->capacity, sizeof(*more));

		if (!more) {
			d->no_memory = true;
			return;
		}
		d->leaves = more;
	}
	d->leaves[d->n].leaf = leaf;
	digest_put(d->leaves[d->n].digest, XXH3_128bits(bytes, sizeof(bytes)));
	d->n++;
}

static void region_note(struct digests *d, XXH3_state_t *x, uint32_t id, const struct pagemap *m)
{
	struct region_digest *r = &d->regions[d->nregions++];
	uint8_t               rec[DIGESTS_LEAF_BYTES] = { 0 };

	r->id     = id;
	r->npages = pagemap_pages(m);
	r->first  = d->n;
	pagemap_leaves(m, d->zero_hash, leaf_note, d);
	r->n = d->n - r->first;
	put_le32(rec, id);
	put_le64(rec + 8, r->npages);
	XXH3_128bits_reset(x);
	XXH3_128bits_update(x, rec, 16);
	for (size_t i = r->first; i < d->n; i++) {
		leaf_put(rec, &d->leaves[i]);
		XXH3_128bits_update(x, rec, sizeof(rec));
	}
	digest_put(r->digest, XXH3_128bits_digest(x));
}

int digests_open(struct digests **out, const struct content *c, struct fail *why)
{
	static const uint8_t zero[PAGE_SIZE_4K];
	XXH3_state_t        *x = XXH3_createState();
	struct digests      *d = calloc(1, sizeof(*d));
	uint8_t              top[8 + LIMIT_REGIONS * 16] = { 0 };

	if (!x || !d)
		goto memory;
	d->zero_hash = page_hash(zero);
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		if (content_has(c, id))
			region_note(d, x, id, content_map(c, id));
	if (d->no_memory)
		goto memory;
	put_le32(top, d->nregions);
	for (uint32_t i = 0; i < d->nregions; i++)
		memcpy(top + 8 + (size_t)i * 16, d->regions[i].digest, 16);
	digest_put(d->memory, XXH3_128bits(top, 8 + (size_t)d->nregions * 16));
	XXH3_freeState(x);
	*out = d;
	return 0;
memory:
	XXH3_freeState(x);
	digests_close(d);
	return fail_set(why, FAIL_SYSTEM, "digests: out of memory");
}

void digests_close(struct digests *d)
{
	if (!d)
		return;
	free(d->leaves);
	free(d);
}

const uint8_t *digests_memory(const struct digests *d)
{
	return d->memory;
}

int content_digest(struct content *c, uint8_t memory[16], struct fail *why)
{
	struct digests *d;

	if (digests_open(&d, c, why))
		return -1;
	memcpy(memory, d->memory, 16);
	digests_close(d);
	return 0;
}

static uint64_t region_chunks(const struct region_digest *r)
{
	return r->n ? (r->n + DIGESTS_LEAVES - 1) / DIGESTS_LEAVES : 1;
}

uint64_t digests_chunks(const struct digests *d)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < d->nregions; i++)
		n += region_chunks(&d->regions[i]);
	return n;
}

bool digests_follow(const struct digests *d, uint64_t i)
{
	const struct region_digest *r = d->regions;

	for (; r < d->regions + d->nregions && i >= region_chunks(r); r++)
		i -= region_chunks(r);
	return r < d->regions + d->nregions && i > 0;
}

size_t digests_payload(const struct digests *d, uint64_t i, uint8_t out[DIGESTS_MAX])
{
	const struct region_digest *r = d->regions;
	size_t                      first, n;

	for (; i >= region_chunks(r); r++)
		i -= region_chunks(r);
	first = (size_t)i * DIGESTS_LEAVES;
	n     = r->n - first < DIGESTS_LEAVES ? r->n - first : DIGESTS_LEAVES;
	memset(out, 0, DIGESTS_HEAD);
	put_le32(out, r->id);
	put_le64(out + 8, r->npages);
	memcpy(out + 16, r->digest, 16);
	for (size_t k = 0; k < n; k++)
		leaf_put(out + DIGESTS_HEAD + k * DIGESTS_LEAF_BYTES,
			 &d->leaves[r->first + first + k]);
	return DIGESTS_HEAD + n * DIGESTS_LEAF_BYTES;
}

int digests_machine(uint8_t out[16], const void *config, size_t config_len, const void *state,
		    size_t state_len, struct fail *why)
{
	XXH3_state_t *x = XXH3_createState();
	int           rc;

	if (!x)
		return fail_set(why, FAIL_SYSTEM, "digests: out of memory");
	XXH3_128bits_reset(x);
	rc = tree_digest(x, config, config_len, why) || tree_digest(x, state, state_len, why);
	digest_put(out, XXH3_128bits_digest(x));
	XXH3_freeState(x);
	return rc ? -1 : 0;
}
