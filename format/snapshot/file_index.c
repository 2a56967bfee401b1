/* SPDX-License-Identifier: MIT */
#include "format/snapshot/file_internal.h"

#include <inttypes.h>

/* The index of a file, which stays in the file: a page costs one chunk a level, and the last one of
 * each level is kept. */

static int run_at(const struct snap_image *s, uint32_t k, struct index_run *r, struct fail *why)
{
	return index_run_get(r, s->tables[0] + (size_t)k * INDEX_RUN_BYTES, s->header.layout,
			     index_shape_at(&s->shape, 0, s->have[0]), why);
}

/* Where entry k of the loaded chunk of a level begins. */
static int key_at(const struct snap_image *s, unsigned level, uint32_t k, struct index_key *key,
		  struct fail *why)
{
	struct index_run r;

	if (level)
		return index_key_get(key, s->tables[level] + (size_t)k * INDEX_KEY_BYTES,
				     index_shape_at(&s->shape, level, s->have[level]), why);
	if (run_at(s, k, &r, why))
		return -1;
	*key = (struct index_key){ .region = r.region, .first = r.first };
	return 0;
}

static bool key_before(const struct index_key *a, const struct index_key *b)
{
	return a->region < b->region || (a->region == b->region && a->first < b->first);
}

/* Is the run within its region, and behind the last one? */
static int run_check(const struct snap_image *s, const struct index_run *r,
		     const struct index_run *last, struct fail *why)
{
	uint64_t at = index_shape_at(&s->shape, 0, s->have[0]), npages = s->npages[r->region];

	if (s->header.required & SNAP_STATE_ONLY || r->first > npages ||
	    r->count > npages - r->first)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index: page numbers out of range of region %" PRIu32, r->region);
	if (r->region < last->region ||
	    (r->region == last->region && last->count && r->first < last->first + last->count))
		return fail_at(why, FAIL_CORRUPT, at, "index: runs not in ascending order");
	if (s->header.layout == SNAP_FLAT && r->kind == PAGE_DATA &&
	    (r->chunk > s->end.hashes || r->count > s->end.hashes - r->chunk))
		return fail_at(why, FAIL_CORRUPT, at, "index: hash number out of range");
	if (s->header.layout == SNAP_CHUNKED && r->chunk >= s->end.index_at)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index: chunk offset past the last pages chunk");
	return 0;
}

/* All entries of the loaded chunk: what is out of order would not be found. */
static int level_check(const struct snap_image *s, unsigned level, uint32_t n, struct fail *why)
{
	struct index_run r, last_run = { 0 };
	struct index_key key, last_key = { 0 };

	for (uint32_t k = 0; k < n && level == 0; k++, last_run = r)
		if (run_at(s, k, &r, why) || run_check(s, &r, &last_run, why))
			return -1;
	for (uint32_t k = 0; k < n && level; k++, last_key = key) {
		if (key_at(s, level, k, &key, why))
			return -1;
		if (key.first >= s->npages[key.region])
			return fail_at(why, FAIL_CORRUPT,
				       index_shape_at(&s->shape, level, s->have[level]),
				       "index: key out of range of region %" PRIu32, key.region);
		if (k && !key_before(&last_key, &key))
			return fail_at(why, FAIL_CORRUPT,
				       index_shape_at(&s->shape, level, s->have[level]),
				       "index: keys not in ascending order");
	}
	return 0;
}

/* Reads chunk i of a level, checked each time: the file may have changed since. */
static int level_load(struct snap_image *s, unsigned level, uint64_t i, struct fail *why)
{
	uint32_t n = index_shape_entries(&s->shape, level, i);

	if (s->have[level] == i)
		return 0;
	s->have[level] = UINT64_MAX;
	if (image_chunk(s, level ? CHUNK_INDEX_LEVEL : CHUNK_INDEX,
			index_shape_at(&s->shape, level, i),
			(uint64_t)n * (level ? INDEX_KEY_BYTES : INDEX_RUN_BYTES), s->tables[level],
			why))
		return -1;
	s->have[level] = i;
	if (level_check(s, level, n, why) == 0)
		return 0;
	s->have[level] = UINT64_MAX;
	return -1;
}

/* The last entry of the loaded chunk that begins at or before `want`: its number + 1; 0: none does;
 * -1. */
static int64_t level_find(const struct snap_image *s, unsigned level, const struct index_key *want,
			  struct fail *why)
{
	uint32_t low = 0, high = index_shape_entries(&s->shape, level, s->have[level]);

	while (low < high) {
		uint32_t         mid = low + (high - low) / 2;
		struct index_key key;

		if (key_at(s, level, mid, &key, why))
			return -1;
		if (key_before(want, &key))
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

int image_find(struct snap_image *s, uint32_t region, uint64_t page, struct index_run *r,
	       struct fail *why)
{
	const struct index_key want = { .region = region, .first = page };
	struct index_key       key;
	uint64_t               chunk = 0;

	for (unsigned level = s->shape.levels;; level--) {
		int64_t found;

		if (level_load(s, level, chunk, why))
			return -1;
		/* The chunk is what the key above said of it. */
		if (level < s->shape.levels) {
			struct index_key first;

			if (key_at(s, level, 0, &first, why))
				return -1;
			if (key_before(&first, &key) || key_before(&key, &first))
				return fail_at(why, FAIL_CORRUPT,
					       index_shape_at(&s->shape, level, chunk),
					       "index: chunk does not match its key");
		}
		found = level_find(s, level, &want, why);
		if (found <= 0)
			return (int)found;
		if (level == 0) {
			s->found = chunk * INDEX_CHUNK_RUNS + (uint64_t)found - 1;
			return run_at(s, (uint32_t)found - 1, r, why) ? -1 : 1;
		}
		if (key_at(s, level, (uint32_t)found - 1, &key, why))
			return -1;
		chunk = chunk * INDEX_LEVEL_KEYS + (uint64_t)found - 1;
	}
}

/* The levels, of which the lowest has to name the first runs of the index, and each the first keys
 * of the one below: found by looking for them. */
static int levels_check(struct snap_image *s, const struct index_run *first, struct fail *why)
{
	struct index_run r;
	int              found = image_find(s, first->region, first->first, &r, why);

	if (found < 0)
		return -1;
	if (found == 0 || r.region != first->region || r.first != first->first)
		return fail_at(why, FAIL_CORRUPT, s->end.index_at,
			       "index: levels do not lead to region %" PRIu32 " page %" PRIu64,
			       first->region, first->first);
	return 0;
}

int snap_image_index(struct snap_image *s, struct fail *why)
{
	struct index_run r, last = { 0 };

	memset(s->kinds, 0, sizeof(s->kinds));
	for (uint64_t i = 0; i < s->shape.chunks[0]; i++) {
		if (level_load(s, 0, i, why))
			goto failed;
		for (uint32_t k = 0; k < index_shape_entries(&s->shape, 0, i); k++) {
			if (run_at(s, k, &r, why) || run_check(s, &r, &last, why) ||
			    (k == 0 && levels_check(s, &r, why)))
				goto failed;
			s->kinds[r.region][r.kind] += r.count;
			last = r;
		}
	}
	return 0;
failed:
	if (why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	return -1;
}

/* Run n of the index, which has to be behind that page: 1; 0: it has fewer runs. */
static int run_number(struct snap_image *s, uint64_t n, uint32_t region, uint64_t page,
		      struct index_run *r, struct fail *why)
{
	if (n >= s->end.index_runs)
		return 0;
	if (level_load(s, 0, n / INDEX_CHUNK_RUNS, why) ||
	    run_at(s, (uint32_t)(n % INDEX_CHUNK_RUNS), r, why))
		return -1;
	/* No key led to its chunk. Who goes from run to run must not be led back. */
	if (r->region < region || (r->region == region && r->first < page))
		return fail_at(why, FAIL_CORRUPT, index_shape_at(&s->shape, 0, s->have[0]),
			       "index: runs not in ascending order");
	return 1;
}

static int image_next(struct snap_image *s, uint32_t region, uint64_t page, struct index_run *r,
		      struct fail *why)
{
	int found = s->end.index_runs ? image_find(s, region, page, r, why) : 0;

	if (found < 0)
		return -1;
	if (found && r->region == region && page - r->first < r->count)
		return 1;
	return run_number(s, found ? s->found + 1 : 0, region, page, r, why);
}

int snap_image_next(struct snap_image *s, uint32_t *region, uint64_t *page, uint64_t *count,
		    enum page_kind *kind, struct fail *why)
{
	struct index_run r;
	int              found = image_next(s, *region, *page, &r, why);
	uint64_t         skip;

	if (found < 0 && why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	if (found <= 0)
		return found;
	skip    = r.region == *region && *page > r.first ? *page - r.first : 0;
	*region = r.region;
	*page   = r.first + skip;
	*count  = r.count - skip;
	*kind   = (enum page_kind)r.kind;
	return 1;
}

uint64_t snap_image_pages(const struct snap_image *s, uint32_t region, enum page_kind kind)
{
	return region < LIMIT_REGIONS && kind <= PAGE_PARENT ? s->kinds[region][kind] : 0;
}
