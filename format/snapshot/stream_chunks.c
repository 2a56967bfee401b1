/* SPDX-License-Identifier: MIT */
#include "format/snapshot/stream_internal.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

/* What each chunk of a stream must be: a function a row of chunk_list.h. Its payload is in
 * s->payload; hash and order have been checked. */

int stream_any(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	(void)s, (void)c, (void)at, (void)why;
	return 0;
}

static int stream_tree(struct snap_stream *s, int which, const struct chunk *c, uint64_t at,
		       struct fail *why)
{
	if (c->len == 0 || c->len > LIMIT_TREE_BYTES)
		return fail_at(why, FAIL_LIMIT, at,
			       "%s chunk: VM tree of %" PRIu32 " bytes exceeds the limit of %u",
			       chunk_type_name(c->type), c->len, LIMIT_TREE_BYTES);
	s->trees[which] = malloc(c->len);
	if (!s->trees[which])
		return fail_sys(why, "%s: VM tree", s->what);
	memcpy(s->trees[which], s->payload, c->len);
	s->lens[which] = c->len;
	return 0;
}

int stream_config(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (stream_tree(s, 0, c, at, why) ||
	    agree_config(&s->header, s->payload, c->len, at, &s->machine, s->npages, why) ||
	    images_reader_open(&s->images, s->machine, why))
		return -1;
	if (s->header.required & SNAP_STATE_ONLY)
		return 0;
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		if (s->npages[id] && content_region(s->content, id, s->npages[id], why))
			return -1;
	return 0;
}

int stream_pages(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (s->header.required & SNAP_STATE_ONLY)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: unexpected in a snapshot without memory");
	if (c->region >= LIMIT_REGIONS || s->npages[c->region] == 0)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: region %" PRIu32 " not in the configuration",
			       c->region);
	if (page_chunk_decode_hashes(s->codec, c, s->payload, at, s->npages[c->region], &s->batch,
				     s->hashes, NULL, why))
		return -1;
	s->have_batch = true;
	return content_pages_at(s->content, &s->batch, s->hashes, at, why);
}

static struct auth_text stream_auth_text(const struct snap_stream *s)
{
	return (struct auth_text){
		.header     = &s->header,
		.config     = s->trees[0],
		.config_len = s->lens[0],
		.state      = s->trees[1],
		.state_len  = s->lens[1],
		.content    = s->seen.content,
	};
}

/* Behind the configuration it is checked at once, so that who follows a recorded path knows before
 * memory is read; before the state it is kept for END, which has the content digest. */
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
	if (c->len != ROUND_END_PAYLOAD || get_le32(s->payload + 4))
		return fail_at(why, FAIL_CORRUPT, at, "malformed ROUND_END chunk");
	return 0;
}

int stream_blob(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (images_chunk(s->images, c, s->payload, at, &s->piece, why))
		return -1;
	s->have_piece = true;
	return 0;
}

/* No image's piece may follow. */
int stream_state(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (images_end(s->images, at, why))
		return -1;
	s->seen.state_at = at;
	if (stream_tree(s, 1, c, at, why))
		return -1;
	return agree_state(s->machine, s->payload, c->len, at, why);
}

int stream_workingset(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	(void)c, (void)why;
	s->seen.working_at = at;
	return 0;
}

/* The index adds nothing to what has been read: it has to be the one that follows from it. */
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
		s->finals[r.region][r.kind] += r.count;
	}
	s->seen.index_runs += n;
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
	       e->index_runs == s->seen.index_runs && e->total == s->pos &&
	       e->state_at == s->seen.state_at && e->working_at == s->seen.working_at;
}

static int stream_end_digests(struct snap_stream *s, const struct snap_end *e, uint64_t at,
			      struct fail *why)
{
	digest_put(s->seen.file, XXH3_128bits_digest(s->digest));
	if (!digest_same(e->file, s->seen.file))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: file digest mismatch");
	if (content_digest(s->content, s->trees[0], s->lens[0], s->trees[1], s->lens[1],
			   s->seen.content, why))
		return -1;
	if (!digest_same(e->content, s->seen.content))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: content digest mismatch");
	return 0;
}

int stream_end(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	struct auth_text text;
	struct index_run r;
	struct snap_end  e;

	if (c->len != SNAP_END_PAYLOAD)
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: invalid length: %" PRIu32 " bytes", c->len);
	if (snap_end_get(&e, s->payload, at, why))
		return -1;
	if (!uuid_equal(&e.snapshot, &s->header.snapshot))
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: snapshot UUID differs from the header");
	if (index_next(s->content, &s->cursor, &r))
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: index lacks region %" PRIu32 " page %" PRIu64, r.region,
			       r.first);
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
