/* SPDX-License-Identifier: MIT */
#include "format/snapshot/stream_internal.h"

#include "libcommon/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

/* The memory of a flat snapshot (docs/format.md 10) as a stream. It comes before its tables: pages
 * are hashed as they are read, and index and hash table must then say the same. */

#define FLAT_PIECE 64u      /* pages that are read, examined and hashed at a time */

int stream_map(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	uint64_t npages[LIMIT_REGIONS] = { 0 };

	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		npages[id] = content_has(s->content, id) ? s->npages[id] : 0;
	flat_map_of(&s->map, npages, at);
	if (flat_map_check(&s->map, npages, s->payload, c->len, at, why))
		return -1;
	s->flat_chunk  = *c;
	s->flat_at     = at;
	s->flat_memory = true;
	return 0;
}

/* In a file: there is nothing but zeroes up to the next data, which the offset is moved to, at most
 * to `to`. */
static int flat_skip_hole(struct snap_stream *s, uint64_t to, struct fail *why)
{
	uint64_t pos;
	off_t    data;

	if (!s->seeks || s->pos == to)
		return 0;
	data = lseek(s->fd, s->start + (off_t)s->pos, SEEK_DATA);
	/* A hole up to the end: a file that was cut off may still claim any size. */
	if (data < 0 && errno == ENXIO)
		data = lseek(s->fd, 0, SEEK_END);
	if (data < s->start)
		data = s->start + (off_t)s->pos;
	/* Whole pages: those of the memory begin at multiples of 4096 of the snapshot. */
	pos = (uint64_t)(data - s->start) / PAGE_SIZE_4K * PAGE_SIZE_4K;
	pos = pos < to ? pos : to;
	pos = pos > s->pos ? pos : s->pos;
	if (lseek(s->fd, s->start + (off_t)pos, SEEK_SET) < 0)
		return fail_sys(why, "%s: offset", s->what);
	s->pos = pos;
	return 0;
}

/* What is between the regions. */
static int flat_gap(struct snap_stream *s, uint64_t to, struct fail *why)
{
	while (s->pos < to) {
		size_t n;

		if (flat_skip_hole(s, to, why))
			return -1;
		n = to - s->pos < sizeof(s->table) ? (size_t)(to - s->pos) : sizeof(s->table);
		if (n && stream_read(s, s->table, n, why))
			return -1;
		for (size_t i = 0; i < n; i++)
			if (s->table[i])
				return fail_at(why, FAIL_CORRUPT, s->pos - n + i,
					       "byte between regions not zero");
	}
	return 0;
}

/* Where the region that is being read ends. */
static uint64_t flat_end(const struct snap_stream *s)
{
	return s->map.at[s->flat_region] + s->npages[s->flat_region] * PAGE_SIZE_4K;
}

/* The next pages of the region that is being read, the data pages among them into the batch. */
static int flat_piece(struct snap_stream *s, struct page_batch *b, struct fail *why)
{
	uint64_t at    = s->map.at[s->flat_region], end = flat_end(s);
	uint8_t *bytes = page_batch_slot(b);
	uint64_t page, n;

	if (flat_skip_hole(s, end, why))
		return -1;
	page = (s->pos - at) / PAGE_SIZE_4K;
	n    = (end - s->pos) / PAGE_SIZE_4K;
	n    = n < FLAT_PIECE ? n : FLAT_PIECE;
	if (n && stream_read(s, bytes, n * PAGE_SIZE_4K, why))
		return -1;
	for (uint64_t i = 0; i < n; i++, bytes += PAGE_SIZE_4K) {
		if (page_is_zero(bytes, PAGE_SIZE_4K))
			continue;
		if (page_batch_slot(b) != bytes)
			memmove(page_batch_slot(b), bytes, PAGE_SIZE_4K);
		page_batch_add_data(b, page + i);
	}
	page_batch_hash(b);
	return 0;
}

/* Goes on to the next region where one has been read to its end; *more: there is one. */
static int flat_next_region(struct snap_stream *s, bool *more, struct fail *why)
{
	while (s->flat_region < LIMIT_REGIONS &&
	       (!s->map.at[s->flat_region] || s->pos >= flat_end(s)))
		s->flat_region++;
	*more = s->flat_region < LIMIT_REGIONS;
	return *more && s->pos < s->map.at[s->flat_region]
		       ? flat_gap(s, s->map.at[s->flat_region], why) : 0;
}

int stream_memory(struct snap_stream *s, struct fail *why)
{
	struct stream_slot *slot = stream_slot(s, why);
	struct page_batch  *b;
	uint64_t            done = 0;
	bool                more;

	if (!slot)
		return -1;
	b = slot->batch;
	if (flat_next_region(s, &more, why))
		return -1;
	page_batch_begin(b, s->flat_region);
	while (more && b->region == s->flat_region && b->ndata + FLAT_PIECE <= BATCH_PAGES) {
		if (flat_piece(s, b, why) || flat_next_region(s, &more, why))
			return -1;
	}
	for (uint32_t i = 0; i < b->nruns; i++) {
		const struct page_run *r = &b->runs[i];

		if (content_set_data(s->content, b->region, r->first, r->count, b->hashes + done,
				     why))
			return -1;
		done += r->count;
	}
	s->have_batch  = b->ndata != 0;
	s->flat_memory = more;
	return 0;
}

static int flat_zero_run(struct snap_stream *s, const struct index_run *r, uint64_t at,
			 struct fail *why)
{
	const struct pagemap *m = content_map(s->content, r->region);
	struct pagemap_entry  e;
	uint64_t              span;

	for (uint64_t page = r->first; page < r->first + r->count; page += span)
		if (pagemap_at(m, page, &e, &span) == PAGE_DATA)
			return fail_at(why, FAIL_CORRUPT, at,
				       "index chunk: region %" PRIu32 " page %" PRIu64
				       " is named zero, but is not", r->region, page);
	return content_set_zero(s->content, r->region, r->first, r->count, why);
}

int stream_index_zeroes(struct snap_stream *s, uint32_t n, uint64_t at, struct fail *why)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct index_run *last = &s->index_last;
		struct index_run        r;

		if (index_run_get(&r, s->payload + (size_t)i * INDEX_RUN_BYTES, SNAP_FLAT, at,
				  why))
			return -1;
		if (!content_has(s->content, r.region) || r.first > s->npages[r.region] ||
		    r.count > s->npages[r.region] - r.first)
			return fail_at(why, FAIL_CORRUPT, at,
				       "index: page numbers out of range of region %" PRIu32,
				       r.region);
		/* In order, which bounds the time that it takes; and what is compared with the
		 * pages chunk by chunk does not show that two chunks should share a run. */
		if (last->count &&
		    (r.region < last->region ||
		     (r.region == last->region && r.first < last->first + last->count)))
			return fail_at(why, FAIL_CORRUPT, at,
				       "index: runs not in ascending order");
		if (last->count && r.region == last->region && r.kind == last->kind &&
		    r.first == last->first + last->count)
			return fail_at(why, FAIL_CORRUPT, at, "index: adjacent runs of one kind");
		if (r.kind == PAGE_ZERO && flat_zero_run(s, &r, at, why))
			return -1;
		s->index_last = r;
	}
	return 0;
}

/* The first page whose hash differs from that of the table is the one that is damaged. */
static int flat_mismatch(const struct snap_stream *s, struct hashes_cursor first, struct fail *why)
{
	size_t n = 0;

	while (get_le64(s->table + n * 8) == get_le64(s->payload + n * 8))
		n++;
	hashes_page(s->content, &first, n);
	return fail_at(why, FAIL_CORRUPT, s->map.at[first.region] + first.page * PAGE_SIZE_4K,
		       "region %" PRIu32 ": page %" PRIu64 ": checksum mismatch", first.region,
		       first.page);
}

int stream_hashes(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (stream_index_end(s, at, why))
		return -1;
	if (s->level <= s->shape.levels)
		return fail_at(why, FAIL_CORRUPT, at, "index-level chunk missing");
	const struct hashes_cursor first = s->hashes;

	if (hashes_next(s->content, &s->hashes, s->table) != c->len || c->len == 0)
		return fail_at(why, FAIL_CORRUPT, at,
			       "hashes chunk: invalid length: %" PRIu32 " bytes", c->len);
	if (memcmp(s->table, s->payload, c->len))
		return flat_mismatch(s, first, why);
	s->seen.hashes += c->len / 8;
	return 0;
}
