/* SPDX-License-Identifier: MIT */
#include "format/snapshot/auth.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct snap_stream {
	int                 fd, cancel;        /* cancel: -1 for none */
	char                what[256];
	struct snap_header  header;
	uint64_t            pos;               /* bytes read */
	/* The grammar: configuration; pages and the like; state; working set; index; end. */
	enum { WANT_CONFIG, IN_BODY, AFTER_STATE, AFTER_WORKINGSET, IN_INDEX, FINISHED, BROKEN } at;
	uint64_t            npages[LIMIT_REGIONS];
	struct content     *content;
	struct page_codec  *codec;
	XXH3_state_t       *digest;
	uint8_t            *payload;
	size_t              capacity;
	uint8_t            *trees[2];          /* configuration, state */
	size_t              lens[2];
	struct machine     *machine;           /* as the configuration has it */
	bool                keyed;
	struct hostkey      key;
	enum snap_auth      auth_config, auth_all;
	bool                auth_last;         /* the state has to follow now */
	uint8_t             auth[AUTH_BYTES];  /* it; zeroes: none */
	struct snap_end     seen;              /* what END has to say */
	struct index_cursor cursor;
	uint64_t            finals[LIMIT_REGIONS][PAGE_PARENT + 1];
	bool                have_batch;
	struct images_reader *images;          /* once the configuration has come */
	bool                have_piece;
	struct image_piece  piece;
	struct page_batch   batch;
	uint64_t            hashes[BATCH_PAGES];
};

/* Reads len bytes at the stream's place; their absence is damage at that place. */
static int stream_read(struct snap_stream *s, void *buf, size_t len, struct fail *why)
{
	size_t got;

	if (io_read_cancel(s->fd, s->cancel, buf, len, &got, s->what, why))
		return -1;
	s->pos += got;
	if (got < len) {
		fail_at(why, FAIL_CORRUPT, s->pos, "unexpected end of snapshot");
		return -1;
	}
	return 0;
}

/* Failures of reading name the stream by themselves, all others get its name here. */
static int stream_broken(struct snap_stream *s, struct fail *why)
{
	s->at = BROKEN;
	if (why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	return -1;
}

/* have: the header, NULL when it is still to be read. */
static int stream_open(struct snap_stream **out, int fd, const uint8_t *have, const char *what, struct fail *why)
{
	struct snap_stream *s = aligned_alloc(alignof(struct snap_stream), sizeof(*s));
	uint8_t             header[SNAP_HEADER_BYTES];

	if (!s)
		return fail_sys(why, "%s: reader", what);
	memset(s, 0, offsetof(struct snap_stream, batch));
	s->fd     = fd;
	s->cancel = -1;
	snprintf(s->what, sizeof(s->what), "%s", what);
	s->digest = XXH3_createState();
	if (!s->digest) {
		fail_set(why, FAIL_SYSTEM, "%s: out of memory", what);
		goto failed;
	}
	if (content_open(&s->content, why) || page_codec_open(&s->codec, why))
		goto failed;
	if (have) {
		memcpy(header, have, sizeof(header));
		s->pos = sizeof(header);
	} else {
		if (snap_header_load(fd, s->what, false, "COMMAND", header, why))
			goto failed;
		s->pos = sizeof(header);
	}
	if (snap_header_get(&s->header, header, why)) {
		stream_broken(s, why);
		goto failed;
	}
	file_digest_header(s->digest, header);
	/* Doubles the read-ahead of a file that is not in memory; a pipe does not mind. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*out = s;
	return 0;
failed:
	snap_stream_close(s);
	return -1;
}

int snap_stream_open(struct snap_stream **out, int fd, const char *what, struct fail *why)
{
	return stream_open(out, fd, NULL, what, why);
}

int snap_stream_open_at(struct snap_stream **out, int fd, const uint8_t header[SNAP_HEADER_BYTES], const char *what, struct fail *why)
{
	return stream_open(out, fd, header, what, why);
}

void snap_stream_close(struct snap_stream *s)
{
	if (!s)
		return;
	content_close(s->content);
	page_codec_close(s->codec);
	XXH3_freeState(s->digest);
	free(s->payload);
	free(s->trees[0]);
	free(s->trees[1]);
	images_reader_close(s->images); /* refers to the machine */
	free(s->machine);
	hostkey_clear(&s->key);
	free(s);
}

void snap_stream_cancel(struct snap_stream *s, int fd)
{
	s->cancel = fd;
}

void snap_stream_key(struct snap_stream *s, const struct hostkey *k)
{
	s->key   = *k;
	s->keyed = true;
}

enum snap_auth snap_stream_auth_config(const struct snap_stream *s)
{
	return s->auth_config;
}

enum snap_auth snap_stream_auth_all(const struct snap_stream *s)
{
	return s->auth_all;
}

/* The header of the next chunk. */
static int stream_chunk(struct snap_stream *s, struct chunk *c, uint64_t *at, struct fail *why)
{
	uint8_t header[CHUNK_HEADER_BYTES];

	*at = s->pos;
	if (stream_read(s, header, sizeof(header), why))
		return -1;
	if (chunk_header_get(c, header, *at, why))
		return -1;
	if (c->type != CHUNK_END)
		file_digest_chunk(s->digest, header);
	return 0;
}

static int stream_payload(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (c->len > s->capacity) {
		uint8_t *more = realloc(s->payload, c->len);

		if (!more)
			return fail_sys(why, "%s: chunk buffer", s->what);
		s->payload = more;
		s->capacity    = c->len;
	}
	if (stream_read(s, s->payload, c->len, why))
		return -1;
	return chunk_payload_check(c, s->payload, at, why);
}

static int stream_tree(struct snap_stream *s, int which, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (c->len == 0 || c->len > LIMIT_TREE_BYTES)
		return fail_at(why, FAIL_LIMIT, at, "%s chunk: VM tree of %" PRIu32 " bytes exceeds the limit of %u", chunk_type_name(c->type), c->len,
			       LIMIT_TREE_BYTES);
	s->trees[which] = malloc(c->len);
	if (!s->trees[which])
		return fail_sys(why, "%s: VM tree", s->what);
	memcpy(s->trees[which], s->payload, c->len);
	s->lens[which] = c->len;
	return 0;
}

static int stream_config(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (stream_tree(s, 0, c, at, why) ||
	    config_read(&s->header, s->payload, c->len, at, &s->machine, s->npages, why) ||
	    images_reader_open(&s->images, s->machine, why))
		return -1;
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		if (s->npages[id] && !(s->header.required & SNAP_STATE_ONLY) && content_region(s->content, id, s->npages[id], why))
			return -1;
	s->at = IN_BODY;
	return 0;
}

static int stream_pages(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (s->header.required & SNAP_STATE_ONLY)
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: unexpected in a snapshot without memory");
	if (c->region >= LIMIT_REGIONS || s->npages[c->region] == 0)
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: region %" PRIu32 " not in the configuration", c->region);
	if (page_chunk_decode_hashes(s->codec, c, s->payload, at, s->npages[c->region], &s->batch, s->hashes, NULL, why))
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

/* Behind the configuration it is checked at once, before the state at the end. */
static int stream_auth(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
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

static int stream_round_end(const struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (c->len != ROUND_END_PAYLOAD || get_le32(s->payload + 4))
		return fail_at(why, FAIL_CORRUPT, at, "malformed ROUND_END chunk");
	return 0;
}

static int stream_blob(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (images_chunk(s->images, c, s->payload, at, &s->piece, why))
		return -1;
	s->have_piece = true;
	return 0;
}

/* Images are whole by now. */
static int stream_state(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (images_end(s->images, at, why))
		return -1;
	s->seen.state_at = at;
	s->at            = AFTER_STATE;
	if (stream_tree(s, 1, c, at, why))
		return -1;
	return state_read(s->machine, s->payload, c->len, at, why);
}

/* The index adds nothing to what has been read: it has to be the one that follows from it. */
static int stream_index(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	uint32_t n = c->len / INDEX_RUN_BYTES;
	uint8_t  want[INDEX_RUN_BYTES];

	if (c->len % INDEX_RUN_BYTES || n > INDEX_CHUNK_RUNS)
		return fail_at(why, FAIL_CORRUPT, at, "index chunk: invalid length: %" PRIu32 " bytes", c->len);
	if (s->at == IN_INDEX && (n == 0 || s->seen.index_runs % INDEX_CHUNK_RUNS || s->seen.index_runs == 0))
		return fail_at(why, FAIL_CORRUPT, at, "index chunk: follows one that is not full");
	if (s->at != IN_INDEX)
		s->seen.index_at = at;
	s->at = IN_INDEX;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t   *p = s->payload + (size_t)i * INDEX_RUN_BYTES;
		struct index_run r;

		if (!index_next(s->content, &s->cursor, &r))
			return fail_at(why, FAIL_CORRUPT, at, "index chunk: lists pages that are not in the snapshot");
		index_run_put(want, &r);
		if (memcmp(p, want, INDEX_RUN_BYTES) != 0)
			return fail_at(why, FAIL_CORRUPT, at, "index chunk: run %" PRIu64 " mismatch: expected region %" PRIu32 " pages %" PRIu64 "+%" PRIu64
				       " at byte %" PRIu64, s->seen.index_runs + i, r.region, r.first, r.count, r.chunk);
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

static int stream_end(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	struct index_run r;
	struct snap_end  e;

	if (c->len != SNAP_END_PAYLOAD)
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: invalid length: %" PRIu32 " bytes", c->len);
	if (snap_end_get(&e, s->payload, at, why))
		return -1;
	if (!uuid_equal(&e.snapshot, &s->header.snapshot))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: snapshot UUID differs from the header");
	if (index_next(s->content, &s->cursor, &r))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: index lacks region %" PRIu32 " page %" PRIu64, r.region, r.first);
	if (e.chunks != s->seen.chunks || e.index_at != s->seen.index_at || e.index_runs != s->seen.index_runs || e.total != s->pos ||
	    e.state_at != s->seen.state_at || e.working_at != s->seen.working_at)
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: counts or offsets do not match the snapshot");
	digest_put(s->seen.file, XXH3_128bits_digest(s->digest));
	if (!digest_same(e.file, s->seen.file))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: file digest mismatch");
	if (content_digest(s->content, s->trees[0], s->lens[0], s->trees[1], s->lens[1], s->seen.content, why))
		return -1;
	if (!digest_same(e.content, s->seen.content))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: content digest mismatch");
	const struct auth_text text = stream_auth_text(s);

	if (s->keyed && !bytes_all_zero(s->auth, sizeof(s->auth)) &&
	    auth_check(&s->auth_all, s->auth, AUTH_ALL, &s->key, &text, why))
		return -1;
	if (stream_trailing(s, why))
		return -1;
	s->at = FINISHED;
	return 0;
}

static int out_of_order(const struct chunk *c, uint64_t at, struct fail *why)
{
	return fail_at(why, FAIL_CORRUPT, at, "%s chunk: unexpected at this point", chunk_type_name(c->type));
}

/* One chunk, its payload sound: its place in the grammar and what it says. */
static int stream_take(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	bool known = true;

	switch (c->type) {
	case CHUNK_CONFIG:
	case CHUNK_STATE:
	case CHUNK_INDEX:
	case CHUNK_ROUND_END:
	case CHUNK_END:
	case CHUNK_WORKINGSET:
	case CHUNK_AUTH:
		if (c->region || c->encoding)
			return fail_at(why, FAIL_CORRUPT, at, "%s chunk: region or encoding not zero", chunk_type_name(c->type));
		break;
	case CHUNK_PAGES:
	case CHUNK_BLOB:
		break;
	default:
		known = false;
	}
	if (!known && c->flags & CHUNK_REQUIRED)
		return fail_at(why, FAIL_VERSION, at, "unsupported required chunk: %s (type %u)",
			       chunk_type_name(c->type), c->type);
	if ((s->at == WANT_CONFIG) != (c->type == CHUNK_CONFIG) ||
	    (s->auth_last && c->type != CHUNK_STATE))
		return out_of_order(c, at, why);
	s->auth_last = false;
	if (c->type == CHUNK_CONFIG)
		return stream_config(s, c, at, why);
	if (c->type == CHUNK_END)
		return s->at == IN_INDEX ? stream_end(s, c, at, why) : out_of_order(c, at, why);
	if (c->type == CHUNK_INDEX)
		return s->at >= AFTER_STATE ? stream_index(s, c, at, why) : out_of_order(c, at, why);
	if (c->type == CHUNK_WORKINGSET) {
		if (s->at != AFTER_STATE)
			return out_of_order(c, at, why);
		s->seen.working_at = at;
		s->at = AFTER_WORKINGSET;
		return 0;
	}
	if (s->at != IN_BODY)
		return out_of_order(c, at, why);
	if (c->type == CHUNK_PAGES)
		return stream_pages(s, c, at, why);
	if (c->type == CHUNK_ROUND_END)
		return stream_round_end(s, c, at, why);
	if (c->type == CHUNK_AUTH)
		return stream_auth(s, c, at, why);
	if (c->type == CHUNK_BLOB)
		return stream_blob(s, c, at, why);
	if (c->type == CHUNK_STATE)
		return stream_state(s, c, at, why);
	return 0;
}

int snap_stream_next(struct snap_stream *s, struct chunk *c, const uint8_t **payload, uint64_t *at, struct fail *why)
{
	s->have_batch = s->have_piece = false;
	if (s->at == FINISHED)
		return 0;
	if (s->at == BROKEN)
		return fail_set(why, FAIL_CORRUPT, "%s: damaged", s->what);
	if (stream_chunk(s, c, at, why) || stream_payload(s, c, *at, why) || stream_take(s, c, *at, why))
		return stream_broken(s, why);
	*payload = s->payload;
	if (c->type == CHUNK_END)
		return 0;
	s->seen.chunks++;
	return 1;
}

const struct snap_header *snap_stream_header(const struct snap_stream *s)
{
	return &s->header;
}

const struct page_batch *snap_stream_batch(const struct snap_stream *s)
{
	return s->have_batch ? &s->batch : NULL;
}

const struct image_piece *snap_stream_piece(const struct snap_stream *s)
{
	return s->have_piece ? &s->piece : NULL;
}

bool snap_stream_has_image(const struct snap_stream *s, const char *name)
{
	return images_reader_has(s->images, name);
}

const uint8_t *snap_stream_config(const struct snap_stream *s, size_t *len)
{
	*len = s->lens[0];
	return s->trees[0];
}

const uint8_t *snap_stream_state(const struct snap_stream *s, size_t *len)
{
	*len = s->lens[1];
	return s->trees[1];
}

uint64_t snap_stream_pages(const struct snap_stream *s, uint32_t region, enum page_kind kind)
{
	return region < LIMIT_REGIONS && kind <= PAGE_PARENT ? s->finals[region][kind] : 0;
}

void snap_stream_digests(const struct snap_stream *s, uint8_t file[16], uint8_t content[16])
{
	memcpy(file, s->seen.file, 16);
	memcpy(content, s->seen.content, 16);
}
