/* SPDX-License-Identifier: MIT */
#include "format/snapshot/file_internal.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A snapshot file read where one likes: opening it reads its end, its directory and the trees. */

/* A chunk's header at `at`, all of it before `limit`; its bytes into header. */
int image_header(const struct snap_image *s, uint8_t header[CHUNK_HEADER_BYTES],
			struct chunk *c, uint64_t at, uint64_t limit, struct fail *why)
{
	if (at < SNAP_HEADER_BYTES || at > limit || limit - at < CHUNK_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, at, "chunk offset out of range");
	if (io_pread(s->fd, header, CHUNK_HEADER_BYTES, at, s->what, why) ||
	    chunk_header_get(c, header, at, why))
		return -1;
	if (chunk_bytes(c) > limit - at)
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: extends past the end of the file",
			       chunk_type_name(c->type));
	return 0;
}

int image_payload(const struct snap_image *s, const struct chunk *c, uint64_t at, uint8_t *buf,
		  struct fail *why)
{
	uint8_t  padding[8];
	uint64_t end = at + CHUNK_HEADER_BYTES + c->len;

	if (io_pread(s->fd, buf, c->len, at + CHUNK_HEADER_BYTES, s->what, why) ||
	    chunk_payload_check(c, buf, at, why))
		return -1;
	if (chunk_padding(c->len) == 0)
		return 0;
	if (io_pread(s->fd, padding, chunk_padding(c->len), end, s->what, why))
		return -1;
	return chunk_padding_check(c, padding, at, why);
}

static int image_chunk_as(const struct snap_image *s, struct chunk *c, uint16_t type, uint64_t at,
			  uint64_t len, uint8_t *buf, struct fail *why)
{
	uint8_t header[CHUNK_HEADER_BYTES];

	if (image_header(s, header, c, at, s->bytes, why))
		return -1;
	if (c->type != type || c->len != len || chunk_fields_check(c, at, why))
		return fail_at(why, FAIL_CORRUPT, at,
			       "expected %s chunk of %" PRIu64 " bytes, got %s of %" PRIu32,
			       chunk_type_name(type), len, chunk_type_name(c->type), c->len);
	return image_payload(s, c, at, buf, why);
}

int image_chunk(const struct snap_image *s, uint16_t type, uint64_t at, uint64_t len, uint8_t *buf,
		struct fail *why)
{
	struct chunk c;

	return image_chunk_as(s, &c, type, at, len, buf, why);
}

int image_listed(const struct snap_image *s, const struct directory_entry *e, uint8_t *buf,
			struct fail *why)
{
	struct chunk c;

	if (image_chunk_as(s, &c, e->type, e->at, e->len, buf, why))
		return -1;
	if (!directory_entry_is(e, &c, e->at))
		return fail_at(why, FAIL_CORRUPT, e->at,
			       "%s chunk: differs from its directory entry",
			       chunk_type_name(c.type));
	return 0;
}

static int image_end(struct snap_image *s, struct fail *why)
{
	uint8_t      payload[SNAP_END_PAYLOAD];
	uint64_t     at = s->bytes - SNAP_END_BYTES;
	struct chunk c;

	if (s->bytes < SNAP_HEADER_BYTES + SNAP_END_BYTES)
		return fail_at(why, FAIL_CORRUPT, s->bytes, "unexpected end of snapshot");
	if (image_chunk_as(s, &c, CHUNK_END, at, sizeof(payload), payload, why)) {
		if (why->kind == FAIL_SYSTEM)
			return -1;
		/* What is said of the bytes there helps nobody. */
		return fail_at(why, FAIL_CORRUPT, at,
			       "no END chunk: file truncated or followed by trailing data");
	}
	if (snap_end_get(&s->end, payload, at, why))
		return -1;
	if (!uuid_equal(&s->end.snapshot, &s->header.snapshot))
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: snapshot UUID differs from the header");
	if (s->end.chunks != c.sequence)
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: sequence number %" PRIu64 ", expected %" PRIu64,
			       c.sequence, s->end.chunks);
	if (s->end.total != s->bytes)
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: file size mismatch: recorded %" PRIu64
			       " bytes, actual %" PRIu64,
			       s->end.total, s->bytes);
	return 0;
}

/* One DIRECTORY chunk of n entries at `at`. */
static int image_entries(struct snap_image *s, uint64_t at, uint32_t n, struct fail *why)
{
	uint8_t               *table = s->tables[0];
	struct directory_entry e;

	if (image_chunk(s, CHUNK_DIRECTORY, at, n * DIRECTORY_ENTRY_BYTES, table, why))
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		const struct directory_entry *last =
			s->directory.n ? &s->directory.v[s->directory.n - 1] : NULL;

		if (directory_entry_get(&e, table + (size_t)i * DIRECTORY_ENTRY_BYTES, at, why))
			return -1;
		if (e.at < SNAP_HEADER_BYTES || e.at >= s->end.directory_at ||
		    (last && (e.at <= last->at || e.sequence <= last->sequence)))
			return fail_at(why, FAIL_CORRUPT, at,
				       "directory: entries not in ascending order");
		if (directory_add(&s->directory,
				  &(struct chunk){ .type = e.type, .flags = e.flags,
						   .region = e.region, .round = e.round,
						   .len = e.len, .sequence = e.sequence },
				  e.at, why))
			return -1;
	}
	return 0;
}

static int image_directory(struct snap_image *s, struct fail *why)
{
	uint64_t end = s->bytes - SNAP_END_BYTES, n = s->end.directory_entries;
	uint64_t chunks = (n + DIRECTORY_ENTRIES - 1) / DIRECTORY_ENTRIES;
	uint64_t full = CHUNK_HEADER_BYTES + DIRECTORY_ENTRIES * (uint64_t)DIRECTORY_ENTRY_BYTES;

	if (n == 0 || n > LIMIT_DIRECTORY)
		return fail_at(why, FAIL_LIMIT, end,
			       "directory of %" PRIu64 " entries out of range (valid: 1 to %u)", n,
			       LIMIT_DIRECTORY);
	if (s->end.directory_at < SNAP_HEADER_BYTES || s->end.directory_at > end ||
	    end - s->end.directory_at !=
		    chunks * CHUNK_HEADER_BYTES + n * DIRECTORY_ENTRY_BYTES)
		return fail_at(why, FAIL_CORRUPT, end, "end chunk: invalid directory offset");
	for (uint64_t i = 0; i < chunks; i++) {
		uint64_t left = n - i * DIRECTORY_ENTRIES;

		if (image_entries(s, s->end.directory_at + i * full,
				  (uint32_t)(left < DIRECTORY_ENTRIES ? left : DIRECTORY_ENTRIES),
				  why))
			return -1;
	}
	return 0;
}

static int image_config(struct snap_image *s, struct fail *why)
{
	const struct directory_entry *e = &s->directory.v[0];

	if (e->type != CHUNK_CONFIG || e->at != SNAP_HEADER_BYTES || e->sequence || e->len == 0 ||
	    e->len > LIMIT_TREE_BYTES)
		return fail_at(why, FAIL_CORRUPT, SNAP_HEADER_BYTES, "missing config chunk");
	s->trees[0] = malloc(e->len);
	if (!s->trees[0])
		return fail_sys(why, "VM tree");
	s->lens[0] = e->len;
	if (image_listed(s, e, s->trees[0], why))
		return -1;
	return agree_config(&s->header, s->trees[0], s->lens[0], e->at, &s->machine, s->npages,
			    why);
}

/* The piece of the state that an entry names, behind `have` bytes of it. */
static int image_state_piece(struct snap_image *s, const struct directory_entry *e, size_t have,
			     struct fail *why)
{
	uint8_t *piece;
	int      rc = -1;
	size_t   n;

	if (e->len <= STATE_PIECE_HEAD || e->len > LIMIT_CHUNK_BYTES)
		return fail_at(why, FAIL_CORRUPT, e->at,
			       "state chunk: invalid length: %" PRIu32 " bytes", e->len);
	piece = malloc(e->len);
	if (!piece)
		return fail_sys(why, "VM tree");
	if (image_listed(s, e, piece, why))
		goto out;
	n = e->len - STATE_PIECE_HEAD;
	if (!s->trees[1]) {
		s->lens[1] = get_le32(piece + 4);
		if (s->lens[1] == 0 || s->lens[1] > LIMIT_STATE_BYTES) {
			fail_at(why, FAIL_LIMIT, e->at,
				"state chunk: VM tree of %zu bytes exceeds the limit of %u",
				s->lens[1], LIMIT_STATE_BYTES);
			goto out;
		}
		s->trees[1] = malloc(s->lens[1]);
		if (!s->trees[1]) {
			fail_sys(why, "VM tree");
			goto out;
		}
	}
	if (get_le32(piece) != have || get_le32(piece + 4) != s->lens[1] ||
	    n > s->lens[1] - have) {
		fail_at(why, FAIL_CORRUPT, e->at, "state chunk: not the next piece of the VM tree");
		goto out;
	}
	memcpy(s->trees[1] + have, piece + STATE_PIECE_HEAD, n);
	rc = 0;
out:
	free(piece);
	return rc;
}

static int image_state(struct snap_image *s, struct fail *why)
{
	const struct directory_entry *last = NULL;
	size_t                        have = 0;
	uint64_t                      at   = s->end.directory_at;

	for (size_t i = 0; i < s->directory.n; i++) {
		const struct directory_entry *e = &s->directory.v[i];

		if (e->type != CHUNK_STATE)
			continue;
		if (last && e->sequence != last->sequence + 1)
			return fail_at(why, FAIL_CORRUPT, e->at,
				       "state chunk: not directly behind the piece before it");
		if (image_state_piece(s, e, have, why))
			return -1;
		last = e;
		at   = have ? at : e->at;
		have += e->len - STATE_PIECE_HEAD;
	}
	if (!s->trees[1] || have != s->lens[1])
		return fail_at(why, FAIL_CORRUPT, at, "missing state chunk");
	return agree_state(s->machine, s->trees[1], s->lens[1], at, why);
}

/* Where the index is; it stays in the file. */
static int image_shape(struct snap_image *s, struct fail *why)
{
	uint64_t end = s->bytes - SNAP_END_BYTES;

	if (s->end.index_runs > LIMIT_INDEX_RUNS)
		return fail_at(why, FAIL_LIMIT, end,
			       "index of %" PRIu64 " runs exceeds the limit of %" PRIu64,
			       s->end.index_runs, LIMIT_INDEX_RUNS);
	if (s->end.index_at >= SNAP_HEADER_BYTES && s->end.index_at < s->end.directory_at) {
		index_shape_of(&s->shape, s->end.index_at, s->end.index_runs);
		if (s->shape.end <= s->end.directory_at)
			return 0;
	}
	return fail_at(why, FAIL_CORRUPT, end, "end chunk: invalid index offset");
}

/* Both trees are there, so it costs nothing; the digest of memory would cost all of memory. */
static int image_machine(const struct snap_image *s, struct fail *why)
{
	uint8_t machine[16];

	if (digests_machine(machine, s->trees[0], s->lens[0], s->trees[1], s->lens[1], why))
		return -1;
	if (digest_same(s->end.digests.machine, machine))
		return 0;
	return fail_at(why, FAIL_CORRUPT, s->bytes - SNAP_END_BYTES,
		       "end chunk: machine digest mismatch");
}

static int image_read(struct snap_image *s, struct fail *why)
{
	uint8_t header[SNAP_HEADER_BYTES];

	if (s->bytes < SNAP_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, s->bytes, "unexpected end of snapshot");
	if (io_pread(s->fd, header, sizeof(header), 0, s->what, why) ||
	    snap_header_get(&s->header, header, why))
		return -1;
	return image_end(s, why) || image_directory(s, why) || image_config(s, why) ||
	       image_state(s, why) || image_machine(s, why) || image_shape(s, why) ||
	       image_flat_open(s, why) ? -1 : 0;
}

int snap_image_open(struct snap_image **out, int fd, const char *what, struct fail *why)
{
	struct snap_image *s;
	struct stat        st;

	if (fstat(fd, &st))
		return fail_sys(why, "%s", what);
	if (!S_ISREG(st.st_mode))
		return fail_set(why, FAIL_USAGE, "%s: not a regular file", what);
	s = aligned_alloc(alignof(struct snap_image), sizeof(*s));
	if (!s)
		return fail_sys(why, "%s: reader", what);
	memset(s, 0, offsetof(struct snap_image, batch));
	s->fd         = fd;
	s->bytes      = (uint64_t)st.st_size;
	memset(s->have, 0xff, sizeof(s->have));
	s->hashes_have = UINT64_MAX;
	snprintf(s->what, sizeof(s->what), "%s", what);
	s->payload = malloc(PAGE_CHUNK_MAX);
	if (!s->payload) {
		fail_sys(why, "%s: chunk buffer", what);
		goto failed;
	}
	if (page_codec_open(&s->codec, why))
		goto failed;
	if (image_read(s, why)) {
		if (why->kind != FAIL_SYSTEM)
			fail_prefix(why, "%s: ", what);
		goto failed;
	}
	*out = s;
	return 0;
failed:
	snap_image_close(s);
	return -1;
}

void snap_image_close(struct snap_image *s)
{
	if (!s)
		return;
	page_codec_close(s->codec);
	free(s->trees[0]);
	free(s->trees[1]);
	images_reader_close(s->images); /* refers to the machine */
	free(s->machine);
	directory_free(&s->directory);
	free(s->payload);
	free(s);
}

const struct snap_header *snap_image_header(const struct snap_image *s)
{
	return &s->header;
}

const uint8_t *snap_image_config(const struct snap_image *s, size_t *len)
{
	*len = s->lens[0];
	return s->trees[0];
}

const uint8_t *snap_image_state(const struct snap_image *s, size_t *len)
{
	*len = s->lens[1];
	return s->trees[1];
}

uint64_t snap_image_bytes(const struct snap_image *s)
{
	return s->bytes;
}

const struct snap_digests *snap_image_digests(const struct snap_image *s)
{
	return &s->end.digests;
}
