/* SPDX-License-Identifier: MIT */
#include "format/snapshot/stream_internal.h"

#include "libcommon/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Asks for what comes next, so that the disk works while what is there is verified. The kernel's
 * own read-ahead is much shorter. What is in memory costs nothing. */
#define STREAM_AHEAD ((uint64_t)4 << 20)
static void stream_ahead(struct snap_stream *s)
{
	/* The holes of a flat snapshot are passed over. */
	s->ahead = s->ahead > s->pos ? s->ahead : s->pos;
	while (s->begin >= 0 && s->ahead < s->pos + 2 * STREAM_AHEAD) {
		if (posix_fadvise(s->fd, s->begin + (off_t)s->ahead, (off_t)STREAM_AHEAD,
				  POSIX_FADV_WILLNEED))
			s->begin = -1;
		s->ahead += STREAM_AHEAD;
	}
}

/* Reads the next len bytes; an end before them is damage at that offset. */
int stream_read(struct snap_stream *s, void *buf, size_t len, struct fail *why)
{
	size_t got;

	stream_ahead(s);
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
	s->broken = true;
	if (why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	return -1;
}

/* have: the header, NULL when it is still to be read. */
static int stream_open(struct snap_stream **out, int fd, const uint8_t *have, const char *what,
		       struct fail *why)
{
	struct snap_stream *s = aligned_alloc(alignof(struct snap_stream), sizeof(*s));
	uint8_t             header[SNAP_HEADER_BYTES];

	if (!s)
		return fail_sys(why, "%s: reader", what);
	memset(s, 0, offsetof(struct snap_stream, table));
	s->nslots = 1;
	s->fd     = fd;
	s->cancel = -1;
	s->begin  = lseek(fd, 0, SEEK_CUR);      /* -1: not a file */
	if (s->begin >= 0 && have)
		s->begin -= (off_t)sizeof(header);
	s->start = s->begin;
	s->seeks = s->begin >= 0;
	s->phase = AFTER_HEADER;
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
	s->cursor.layout = s->header.layout;
	file_digest_header(s->digest, header);
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

int snap_stream_open_at(struct snap_stream **out, int fd, const uint8_t header[SNAP_HEADER_BYTES],
			const char *what, struct fail *why)
{
	return stream_open(out, fd, header, what, why);
}

void snap_stream_close(struct snap_stream *s)
{
	if (!s)
		return;
	content_close(s->content);
	digests_close(s->digests);
	index_keys_free(&s->keys);
	directory_free(&s->directory);
	page_codec_close(s->codec);
	XXH3_freeState(s->digest);
	for (unsigned i = 0; i < SNAP_STREAM_BATCHES; i++) {
		free(s->slots[i].batch);
		free(s->slots[i].payload);
	}
	free(s->payload);
	free(s->trees[0]);
	free(s->trees[1]);
	images_reader_close(s->images); /* refers to the machine */
	free(s->machine);
	hostkey_clear(&s->key);
	free(s);
}

void snap_stream_batches(struct snap_stream *s, unsigned n)
{
	assert(n >= 1 && n <= SNAP_STREAM_BATCHES);
	s->nslots = n;
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

/* The payload and its padding; a chunk of pages reads its own. */
static int stream_payload(struct snap_stream *s, const struct chunk *c, uint64_t at,
			  struct fail *why)
{
	size_t len = c->len + chunk_padding(c->len);

	if (c->type == CHUNK_PAGES)
		return 0;
	/* An empty payload needs a pointer too. */
	if (!s->payload || len > s->capacity) {
		uint8_t *more = realloc(s->payload, len ? len : 1);

		if (!more)
			return fail_sys(why, "%s: chunk buffer", s->what);
		s->payload  = more;
		s->capacity = len;
	}
	if (stream_read(s, s->payload, len, why) || chunk_payload_check(c, s->payload, at, why))
		return -1;
	return chunk_padding_check(c, s->payload + c->len, at, why);
}

/* Its order and its header. */
static int stream_check(struct snap_stream *s, const struct chunk *c, uint64_t at,
			struct fail *why)
{
	if (chunk_check(c, s->header.layout, s->phase, at, why))
		return -1;
	/* The MAC over all must be directly before the state (docs/format.md 9), and the pieces of
	 * the state, and the digests of one region, behind each other. */
	if (c->type != CHUNK_STATE &&
	    (s->auth_last || (s->trees[1] && s->state_have < s->lens[1])))
		return chunk_unexpected(c, at, why);
	if (c->type != CHUNK_DIGESTS && s->digests && digests_follow(s->digests, s->digest_chunks))
		return chunk_unexpected(c, at, why);
	s->auth_last = false;
	if (c->sequence != s->seen.chunks)
		return fail_at(why, FAIL_CORRUPT, at,
			       "%s chunk: sequence number %" PRIu64 ", expected %" PRIu64,
			       chunk_type_name(c->type), c->sequence, s->seen.chunks);
	return 0;
}

/* A piece of the memory of a flat snapshot, as its MAP chunk again; 0: there is no more. */
static int stream_next_memory(struct snap_stream *s, struct chunk *c, const uint8_t **payload,
			      uint64_t *at, struct fail *why)
{
	*c       = s->flat_chunk;
	*at      = s->flat_at;
	*payload = s->payload;
	while (s->flat_memory && !s->have_batch)
		if (stream_memory(s, why))
			return stream_broken(s, why);
	return s->have_batch;
}

/* What it says. */
static int stream_take(struct snap_stream *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	const struct chunk_info *info = chunk_info_find(c->type);

	if ((info && info->stream(s, c, at, why)) || directory_add(&s->directory, c, at, why))
		return -1;
	s->phase = chunk_phase_after(c->type, s->phase);
	return 0;
}

int snap_stream_next(struct snap_stream *s, struct chunk *c, const uint8_t **payload, uint64_t *at,
		     struct fail *why)
{
	int memory;

	s->have_batch = s->have_piece = false;
	if (s->broken)
		return fail_set(why, FAIL_CORRUPT, "%s: damaged", s->what);
	if (s->phase == AFTER_END)
		return 0;
	memory = stream_next_memory(s, c, payload, at, why);
	if (memory)
		return memory;
	if (stream_chunk(s, c, at, why) || stream_check(s, c, *at, why) ||
	    stream_payload(s, c, *at, why) || stream_take(s, c, *at, why))
		return stream_broken(s, why);
	*payload = c->type == CHUNK_PAGES ? s->slots[s->slot].payload : s->payload;
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
	return s->have_batch ? s->slots[s->slot].batch : NULL;
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
	return s->state_have == *len ? s->trees[1] : NULL;
}

uint64_t snap_stream_pages(const struct snap_stream *s, uint32_t region, enum page_kind kind)
{
	return region < LIMIT_REGIONS && kind <= PAGE_PARENT ? s->finals[region][kind] : 0;
}

const struct snap_digests *snap_stream_digests(const struct snap_stream *s)
{
	return &s->seen.digests;
}
