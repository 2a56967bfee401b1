/* SPDX-License-Identifier: MIT */
#include "format/snapshot/output_file.h"
#include "format/snapshot/writer_internal.h"

/* The flat layout (docs/format.md 10): pages go to their places in the file, whatever the order in
 * which they come, and later ones replace earlier ones. What was never written is a hole. */

int writer_flat_check(const struct snap_writer *w, const struct snap_writer_options *o,
		      const char *what, struct fail *why)
{
	if (w->header.layout != SNAP_FLAT)
		return 0;
	if (!output_fresh(w->out))
		return fail_set(why, FAIL_USAGE,
				"%s: the flat layout requires a new regular file", what);
	if (o->level)
		return fail_set(why, FAIL_USAGE, "%s: the flat layout is not compressed", what);
	if (w->header.required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_USAGE,
				"%s: the flat layout requires a snapshot with memory", what);
	return 0;
}

int writer_flat_begin(struct snap_writer *w, struct fail *why)
{
	uint8_t payload[MAP_MAX];

	if (w->header.layout != SNAP_FLAT || w->phase != AFTER_CONFIG)
		return 0;
	flat_map_of(&w->map, w->npages, output_bytes(w->out));
	if (writer_chunk(w, CHUNK_MAP, payload, flat_map_put(payload, &w->map, w->npages), why))
		return -1;
	output_skip(w->out, w->map.end);
	return 0;
}

/* What is data there becomes a hole. */
static int flat_zero(struct snap_writer *w, uint32_t region, uint64_t first, uint64_t count,
		     struct fail *why)
{
	const struct pagemap *m = content_map(w->content, region);
	struct pagemap_entry  e;
	uint64_t              span;

	for (uint64_t page = first; page < first + count; page += span)
		if (pagemap_at(m, page, &e, &span) == PAGE_DATA &&
		    output_file_clear(output_fresh(w->out),
				      w->map.at[region] + page * PAGE_SIZE_4K,
				      span * PAGE_SIZE_4K, why))
			return -1;
	return content_set_zero(w->content, region, first, count, why);
}

/* Pages of kind data have a byte that is not zero; others may have come as data all the same. */
static bool flat_page_zero(const struct page_batch *b, uint32_t slot, uint64_t zero_hash)
{
	return b->hashes[slot] == zero_hash &&
	       page_is_zero(b->pages + (size_t)slot * PAGE_SIZE_4K, PAGE_SIZE_4K);
}

static int flat_data(struct snap_writer *w, const struct page_batch *b, const struct page_run *r,
		     uint32_t slot, struct fail *why)
{
	static const uint8_t zeroes[PAGE_SIZE_4K];
	const uint64_t       zero_hash = page_hash(zeroes);

	for (uint32_t i = 0, n; i < r->count; i += n) {
		uint64_t first = r->first + i;
		bool     zero  = flat_page_zero(b, slot + i, zero_hash);

		for (n = 1; i + n < r->count && flat_page_zero(b, slot + i + n, zero_hash) == zero;
		     n++)
			;
		if (zero ? flat_zero(w, b->region, first, n, why)
			 : (output_file_put(output_fresh(w->out),
					    w->map.at[b->region] + first * PAGE_SIZE_4K,
					    b->pages + (size_t)(slot + i) * PAGE_SIZE_4K,
					    (size_t)n * PAGE_SIZE_4K, why) ||
			    content_set_data(w->content, b->region, first, n,
					     b->hashes + slot + i, why)))
			return -1;
	}
	return 0;
}

int writer_flat_pages(struct snap_writer *w, const struct page_batch *b, struct fail *why)
{
	uint32_t slot = 0;

	if (writer_flat_begin(w, why))
		return -1;
	for (uint32_t i = 0; i < b->nruns; i++) {
		const struct page_run *r = &b->runs[i];

		if (b->region >= LIMIT_REGIONS || r->first > w->npages[b->region] ||
		    r->count > w->npages[b->region] - r->first)
			return fail_set(why, FAIL_CORRUPT,
					"page numbers out of range of region %u", b->region);
		if (r->kind == PAGE_ZERO ? flat_zero(w, b->region, r->first, r->count, why)
					 : flat_data(w, b, r, slot, why))
			return -1;
		slot += r->kind == PAGE_ZERO ? 0 : r->count;
	}
	return 0;
}

int writer_flat_hashes(struct snap_writer *w, struct fail *why)
{
	struct hashes_cursor cursor = { 0 };
	size_t               n;

	if (w->header.layout != SNAP_FLAT)
		return 0;
	while ((n = hashes_next(w->content, &cursor, w->table)))
		if (writer_chunk(w, CHUNK_HASHES, w->table, n, why))
			return -1;
	return 0;
}
