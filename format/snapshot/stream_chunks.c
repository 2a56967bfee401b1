/* SPDX-License-Identifier: MIT */
#include "format/snapshot/stream_internal.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/stat.h>

/* What each chunk of a stream must be: a function a row of chunk_list.h. Its payload is in
 * s->payload; hash and order have been checked. */

#define STREAM_PIECE 64u      /* pages that are read and verified at a time */

int stream_any(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	(void)s, (void)c, (void)at, (void)why;
	return 0;
}

int stream_config(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (c->len == 0 || c->len > LIMIT_TREE_BYTES)
		return fail_at(why, FAIL_LIMIT, at,
			       "config chunk: VM tree of %" PRIu32 " bytes exceeds the limit of %u",
			       c->len, LIMIT_TREE_BYTES);
	s->trees[0] = malloc(c->len);
	if (!s->trees[0])
		return fail_sys(why, "%s: VM tree", s->what);
	memcpy(s->trees[0], s->payload, c->len);
	s->lens[0] = c->len;
	if (agree_config(&s->header, s->payload, c->len, at, &s->machine, s->npages, why) ||
	    images_reader_open(&s->images, s->machine, why))
		return -1;
	if (s->header.required & SNAP_STATE_ONLY)
		return 0;
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		if (s->npages[id] && content_region(s->content, id, s->npages[id], why))
			return -1;
	return 0;
}

struct stream_slot *stream_slot(struct snap_stream *s, struct fail *why)
{
	struct stream_slot *slot = &s->slots[(s->slot + 1) % s->nslots];

	if (!slot->batch)
		slot->batch = aligned_alloc(alignof(struct page_batch), sizeof(*slot->batch));
	if (!slot->payload)
		slot->payload = malloc(PAGE_CHUNK_MAX);
	if (!slot->batch || !slot->payload) {
		fail_sys(why, "%s: chunk buffer", s->what);
		return NULL;
	}
	s->slot = (s->slot + 1) % s->nslots;
	return slot;
}

/* Tables and data, into the slot. What is raw is verified while it is in the cache. */
static int stream_data(struct snap_stream *s, const struct stream_slot *slot,
		       const struct chunk *c, uint64_t at, struct fail *why)
{
	struct page_batch *b = slot->batch;
	uint8_t           *payload = slot->payload, *p = payload + c->hashed;

	if (c->len > PAGE_CHUNK_MAX - CHUNK_HEADER_BYTES)
		return fail_at(why, FAIL_LIMIT, at,
			       "pages chunk: payload of %" PRIu32 " bytes exceeds the limit of %u",
			       c->len, (unsigned)(PAGE_CHUNK_MAX - CHUNK_HEADER_BYTES));
	if (stream_read(s, payload, c->hashed, why) || chunk_payload_check(c, payload, at, why) ||
	    page_chunk_tables(c, payload, c->hashed, at, s->npages[c->region], b, why))
		return -1;
	if (c->encoding != CHUNK_RAW) {
		if (stream_read(s, p, c->len - c->hashed + chunk_padding(c->len), why) ||
		    chunk_padding_check(c, payload + c->len, at, why))
			return -1;
		return page_chunk_decode(s->codec, c, payload, at, s->npages[c->region], b, NULL,
					 why);
	}
	b->pages = p;
	for (uint32_t first = 0, n; first < b->ndata; first += n) {
		n = b->ndata - first < STREAM_PIECE ? b->ndata - first : STREAM_PIECE;
		if (stream_read(s, p + (size_t)first * PAGE_SIZE_4K, (size_t)n * PAGE_SIZE_4K,
				why) ||
		    page_batch_verify(b, first, n, at, why))
			return -1;
	}
	return 0;
}

int stream_pages(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	struct stream_slot *slot = stream_slot(s, why);

	if (!slot)
		return -1;
	if (s->header.required & SNAP_STATE_ONLY)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: unexpected in a snapshot without memory");
	if (c->region >= LIMIT_REGIONS || s->npages[c->region] == 0)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: region %" PRIu32 " not in the configuration",
			       c->region);
	if (c->round != s->round)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: round %" PRIu32 ", expected %" PRIu32, c->round,
			       s->round);
	if (stream_data(s, slot, c, at, why))
		return -1;
	s->round_pages += page_batch_pages(slot->batch);
	s->round_data += slot->batch->ndata;
	s->have_batch = true;
	return content_pages_at(s->content, slot->batch, at, why);
}

static struct auth_text stream_auth_text(const struct snap_stream *s)
{
	return (struct auth_text){
		.header     = &s->header,
		.config     = s->trees[0],
		.config_len = s->lens[0],
		.state      = s->trees[1],
		.state_len  = s->lens[1],
		.memory     = s->seen.digests.memory,
	};
}

/* Behind the configuration it is checked at once, so that who follows a recorded path knows before
 * memory is read; before the state it is kept for END, which has the memory digest. */
int stream_auth(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	const struct auth_text text = stream_auth_text(s);
	unsigned               covers;

	if (auth_get(&covers, s->payload, c->len, at, why))
		return -1;
	if (covers == AUTH_CONFIG) {
		if (s->seen.chunks != 1)
			return fail_at(why, FAIL_CORRUPT, at,
				       "auth chunk: not directly after CONFIG");
		if (!s->keyed)
			return 0;
		return auth_check(&s->auth_config, s->payload, AUTH_CONFIG, &s->key, &text, why);
	}
	if (covers == AUTH_ALL) {
		memcpy(s->auth, s->payload, sizeof(s->auth));
		s->auth_last = true;
	}
	return 0;
}

int stream_round_end(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (c->len != ROUND_END_PAYLOAD || c->round != s->round || s->round_pages == 0 ||
	    get_le64(s->payload) != s->round_pages || get_le64(s->payload + 8) != s->round_data)
		return fail_at(why, FAIL_CORRUPT, at,
			       "round-end chunk: does not match the pages of round %" PRIu32,
			       s->round);
	s->round++;
	s->round_pages = s->round_data = 0;
	return 0;
}

int stream_blob(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (images_chunk(s->images, c, s->payload, at, &s->piece, why))
		return -1;
	s->have_piece = true;
	return 0;
}

/* Before the first piece: nothing of memory or of an image may be missing. */
static int stream_state_begin(struct snap_stream *s, uint32_t total, uint64_t at,
			      struct fail *why)
{
	if (s->round_pages)
		return fail_at(why, FAIL_CORRUPT, at,
			       "state chunk: round %" PRIu32 " has no end", s->round);
	if (total == 0 || total > LIMIT_STATE_BYTES)
		return fail_at(why, FAIL_LIMIT, at,
			       "state chunk: VM tree of %" PRIu32 " bytes exceeds the limit of %u",
			       total, LIMIT_STATE_BYTES);
	if (images_end(s->images, at, why))
		return -1;
	s->trees[1] = malloc(total);
	if (!s->trees[1])
		return fail_sys(why, "%s: VM tree", s->what);
	s->lens[1] = total;
	return digests_open(&s->digests, s->content, why);
}

int stream_state(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	size_t n = c->len - STATE_PIECE_HEAD;

	if (c->len <= STATE_PIECE_HEAD)
		return fail_at(why, FAIL_CORRUPT, at, "state chunk: invalid length: %" PRIu32
			       " bytes", c->len);
	if (!s->trees[1] && stream_state_begin(s, get_le32(s->payload + 4), at, why))
		return -1;
	if (get_le32(s->payload) != s->state_have || get_le32(s->payload + 4) != s->lens[1] ||
	    n > s->lens[1] - s->state_have)
		return fail_at(why, FAIL_CORRUPT, at,
			       "state chunk: not the next piece of the VM tree");
	memcpy(s->trees[1] + s->state_have, s->payload + STATE_PIECE_HEAD, n);
	s->state_have += n;
	if (s->state_have < s->lens[1])
		return 0;
	return agree_state(s->machine, s->trees[1], s->lens[1], at, why);
}

/* The tables from here on add nothing to what has been read: each has to be the one that follows
 * from it. */

static int stream_digests_differ(uint64_t at, struct fail *why)
{
	return fail_at(why, FAIL_CORRUPT, at,
		       "digests chunk: does not match the pages of the snapshot");
}

int stream_digests(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (s->digest_chunks == digests_chunks(s->digests) ||
	    digests_payload(s->digests, s->digest_chunks, s->table) != c->len ||
	    memcmp(s->table, s->payload, c->len) != 0) {
		/* In the flat layout the hashes, which follow, show which page is damaged. */
		if (s->header.layout != SNAP_FLAT || s->digest_chunks == digests_chunks(s->digests))
			return stream_digests_differ(at, why);
		s->digests_differ = s->digests_differ ? s->digests_differ : at;
	}
	s->digest_chunks++;
	return 0;
}

int stream_index(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	uint32_t n = c->len / INDEX_RUN_BYTES;
	uint8_t  want[INDEX_RUN_BYTES];

	if (c->len % INDEX_RUN_BYTES || n > INDEX_CHUNK_RUNS)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index chunk: invalid length: %" PRIu32 " bytes", c->len);
	if (s->phase == AFTER_INDEX &&
	    (n == 0 || s->seen.index_runs % INDEX_CHUNK_RUNS || s->seen.index_runs == 0))
		return fail_at(why, FAIL_CORRUPT, at, "index chunk: follows one that is not full");
	if (s->phase != AFTER_INDEX)
		s->seen.index_at = at;
	if (s->header.layout == SNAP_FLAT && stream_index_zeroes(s, n, at, why))
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t   *p = s->payload + (size_t)i * INDEX_RUN_BYTES;
		struct index_run r;

		if (!index_next(s->content, &s->cursor, &r))
			return fail_at(why, FAIL_CORRUPT, at,
				       "index chunk: lists pages that are not in the snapshot");
		index_run_put(want, &r);
		if (memcmp(p, want, INDEX_RUN_BYTES) != 0)
			return fail_at(why, FAIL_CORRUPT, at,
				       "index chunk: run %" PRIu64 " mismatch: expected"
				       " region %" PRIu32 " pages %" PRIu64 "+%" PRIu64
				       " at byte %" PRIu64,
				       s->seen.index_runs + i, r.region, r.first, r.count, r.chunk);
		if (i == 0 && index_keys_add(&s->keys, &r, why))
			return -1;
		s->finals[r.region][r.kind] += r.count;
	}
	s->seen.index_runs += n;
	return 0;
}

int stream_index_end(struct snap_stream *s, uint64_t at, struct fail *why)
{
	struct index_run r;

	if (s->shaped)
		return 0;
	if (index_next(s->content, &s->cursor, &r))
		return fail_at(why, FAIL_CORRUPT, at,
			       "index lacks region %" PRIu32 " page %" PRIu64, r.region, r.first);
	if (s->digest_chunks && s->digest_chunks != digests_chunks(s->digests))
		return fail_at(why, FAIL_CORRUPT, at, "digests chunk missing");
	index_shape_of(&s->shape, s->seen.index_at, s->seen.index_runs);
	s->shaped = true;
	s->level  = 1;
	return 0;
}

int stream_level(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (stream_index_end(s, at, why))
		return -1;
	if (s->level > s->shape.levels ||
	    index_level_payload(&s->keys, &s->shape, s->level, s->level_chunk, s->table) !=
		    c->len ||
	    memcmp(s->table, s->payload, c->len) != 0)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index-level chunk: does not match the index");
	if (++s->level_chunk == s->shape.chunks[s->level]) {
		s->level++;
		s->level_chunk = 0;
	}
	return 0;
}

int stream_directory(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	uint64_t have = s->seen.directory_entries, n = c->len / DIRECTORY_ENTRY_BYTES;
	uint64_t due;

	if (stream_index_end(s, at, why))
		return -1;
	if (s->level <= s->shape.levels)
		return fail_at(why, FAIL_CORRUPT, at, "index-level chunk missing");
	if (s->header.layout == SNAP_FLAT && s->seen.hashes != s->cursor.hash)
		return fail_at(why, FAIL_CORRUPT, at, "hashes chunk missing");
	if (s->digests_differ)
		return stream_digests_differ(s->digests_differ, why);
	if (s->phase != AFTER_DIRECTORY)
		s->seen.directory_at = at;
	due = s->directory.n - have;
	if (n != (due < DIRECTORY_ENTRIES ? due : DIRECTORY_ENTRIES) || n == 0 ||
	    c->len % DIRECTORY_ENTRY_BYTES)
		return fail_at(why, FAIL_CORRUPT, at,
			       "directory chunk: invalid length: %" PRIu32 " bytes", c->len);
	for (uint64_t i = 0; i < n; i++) {
		uint8_t want[DIRECTORY_ENTRY_BYTES];

		directory_entry_put(want, &s->directory.v[have + i]);
		if (memcmp(s->payload + i * DIRECTORY_ENTRY_BYTES, want, sizeof(want)) != 0)
			return fail_at(why, FAIL_CORRUPT, at,
				       "directory chunk: entry %" PRIu64 " mismatch", have + i);
	}
	s->seen.directory_entries += n;
	return 0;
}

/* A file ends with END. A pipe may stay open, or have something else behind it. */
static int stream_trailing(const struct snap_stream *s, struct fail *why)
{
	struct stat st;
	uint8_t     more;
	size_t      got;

	if (fstat(s->fd, &st))
		return fail_sys(why, "%s", s->what);
	if (!S_ISREG(st.st_mode))
		return 0;
	if (io_read_some(s->fd, &more, 1, &got, s->what, why))
		return -1;
	return got ? fail_at(why, FAIL_CORRUPT, s->pos, "trailing data after the END chunk") : 0;
}

static bool stream_end_matches(const struct snap_stream *s, const struct snap_end *e)
{
	return e->chunks == s->seen.chunks && e->index_at == s->seen.index_at &&
	       e->index_runs == s->seen.index_runs && e->directory_at == s->seen.directory_at &&
	       e->directory_entries == s->seen.directory_entries &&
	       s->seen.directory_entries == s->directory.n && e->total == s->pos &&
	       e->hashes == s->seen.hashes;
}

static int stream_end_digests(struct snap_stream *s, const struct snap_end *e, uint64_t at,
			      struct fail *why)
{
	struct snap_digests *d = &s->seen.digests;

	digest_put(d->file, XXH3_128bits_digest(s->digest));
	if (!digest_same(e->digests.file, d->file))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: file digest mismatch");
	memcpy(d->memory, digests_memory(s->digests), 16);
	if (!digest_same(e->digests.memory, d->memory))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: memory digest mismatch");
	if (digests_machine(d->machine, s->trees[0], s->lens[0], s->trees[1], s->lens[1], why))
		return -1;
	if (!digest_same(e->digests.machine, d->machine))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: machine digest mismatch");
	return 0;
}

int stream_end(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	struct auth_text text;
	struct snap_end  e;

	if (c->len != SNAP_END_PAYLOAD)
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: invalid length: %" PRIu32 " bytes", c->len);
	if (snap_end_get(&e, s->payload, at, why))
		return -1;
	if (!uuid_equal(&e.snapshot, &s->header.snapshot))
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: snapshot UUID differs from the header");
	if (!stream_end_matches(s, &e))
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: counts or offsets do not match the snapshot");
	if (stream_end_digests(s, &e, at, why))
		return -1;
	text = stream_auth_text(s);
	if (s->keyed && !bytes_all_zero(s->auth, sizeof(s->auth)) &&
	    auth_check(&s->auth_all, s->auth, AUTH_ALL, &s->key, &text, why))
		return -1;
	return stream_trailing(s, why);
}
