/* SPDX-License-Identifier: MIT */
#include "format/snapshot/file_internal.h"

#include "libcommon/io.h"

#include <inttypes.h>

/* One page of a file: its run of the index, the tables of its chunk (kept), its bytes, or the whole
 * chunk when that is compressed (kept too). */

/* The tables of the page chunk at `at`, and its data when compressed, into s. */
static int image_load(struct snap_image *s, uint32_t region, uint64_t at, struct fail *why)
{
	uint8_t  header[CHUNK_HEADER_BYTES];
	uint32_t have, padding;

	/* A run of another region may name the chunk that is kept: it is refused below. */
	if (s->chunk_at == at && s->chunk.region == region)
		return 0;
	s->chunk_at = 0;
	if (image_header(s, header, &s->chunk, at, s->end.index_at, why))
		return -1;
	if (s->chunk.type != CHUNK_PAGES || s->chunk.region != region ||
	    s->chunk.len > PAGE_CHUNK_MAX - CHUNK_HEADER_BYTES ||
	    chunk_fields_check(&s->chunk, at, why))
		return fail_at(why, FAIL_CORRUPT, at,
			       "index: no pages chunk of region %" PRIu32 " at this offset",
			       region);
	have    = s->chunk.encoding == CHUNK_RAW ? s->chunk.hashed : s->chunk.len;
	padding = s->chunk.encoding == CHUNK_RAW ? 0 : chunk_padding(have);
	if (io_pread(s->fd, s->payload, have + padding, at + CHUNK_HEADER_BYTES, s->what, why) ||
	    chunk_payload_check(&s->chunk, s->payload, at, why) ||
	    (padding && chunk_padding_check(&s->chunk, s->payload + have, at, why)))
		return -1;
	if (s->chunk.encoding == CHUNK_RAW
		    ? page_chunk_tables(&s->chunk, s->payload, have, at, s->npages[region],
					&s->batch, why)
		    : page_chunk_decode(s->codec, &s->chunk, s->payload, at, s->npages[region],
					&s->batch, NULL, why))
		return -1;
	s->chunk_at = at;
	return 0;
}

int snap_image_page(struct snap_image *s, uint32_t region, uint64_t page, uint8_t out[PAGE_SIZE_4K],
		    enum page_kind *kind, struct fail *why)
{
	struct index_run r;
	uint32_t         slot;
	int              found;

	if (s->header.required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_REFUSED,
				"%s: snapshot without memory (saved with --state-only)", s->what);
	if (region >= LIMIT_REGIONS || page >= s->npages[region])
		return fail_set(why, FAIL_USAGE, "%s: region %" PRIu32 " has no page %" PRIu64,
				s->what, region, page);
	found = image_find(s, region, page, &r, why);
	if (found < 0)
		goto failed;
	if (!found || r.region != region || page - r.first >= r.count || r.kind == PAGE_ZERO) {
		memset(out, 0, PAGE_SIZE_4K);
		*kind = PAGE_ZERO;
		return 0;
	}
	if (s->header.layout == SNAP_FLAT) {
		*kind = PAGE_DATA;
		if (image_flat_page(s, &r, page, out, why))
			goto failed;
		return 0;
	}
	if (image_load(s, region, r.chunk, why))
		goto failed;
	slot = r.slot + (uint32_t)(page - r.first);
	if (slot >= s->batch.ndata || page_batch_data_page(&s->batch, slot) != page) {
		fail_at(why, FAIL_CORRUPT, r.chunk,
			"pages chunk: region %" PRIu32 " page %" PRIu64
			" not found where the index points",
			region, page);
		goto failed;
	}
	if (s->chunk.encoding)
		memcpy(out, s->batch.pages + (size_t)slot * PAGE_SIZE_4K, PAGE_SIZE_4K);
	else if (io_pread(s->fd, out, PAGE_SIZE_4K, r.chunk + CHUNK_HEADER_BYTES + s->chunk.hashed +
			  (uint64_t)slot * PAGE_SIZE_4K, s->what, why))
		goto failed;
	if (!hash_same(s->batch.hashes[slot], page_hash(out))) {
		fail_at(why, FAIL_CORRUPT, r.chunk,
			"region %" PRIu32 ": page %" PRIu64 ": checksum mismatch", region, page);
		goto failed;
	}
	*kind = PAGE_DATA;
	return 0;
failed:
	if (why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	return -1;
}

