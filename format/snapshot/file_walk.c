/* SPDX-License-Identifier: MIT */
#include "format/snapshot/file_internal.h"

#include "libcommon/io.h"

#include <inttypes.h>
#include <stdlib.h>

/* All chunks of a file in their order, by their headers: what was written, not what it holds. The
 * order is that of a stream (chunk_list.h); page data, trees and the index are passed over. */

int image_walk_any(struct snap_image *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	(void)s, (void)c, (void)at, (void)why;
	return 0;
}

int image_walk_pages(struct snap_image *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	/* s->payload is used anew: it does not hold the tables of that chunk any more. */
	s->chunk_at = 0;
	if (c->region >= LIMIT_REGIONS || s->npages[c->region] == 0)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: region %" PRIu32 " not in the configuration",
			       c->region);
	if (c->hashed > PAGE_CHUNK_TABLES)
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: tables of %" PRIu32 " bytes",
			       c->hashed);
	if (io_pread(s->fd, s->payload, c->hashed, at + CHUNK_HEADER_BYTES, s->what, why) ||
	    chunk_payload_check(c, s->payload, at, why))
		return -1;
	return page_chunk_tables(c, s->payload, c->hashed, at, s->npages[c->region], &s->batch,
				 why);
}

/* A piece of an image, of any length that a chunk may have. */
int image_walk_blob(struct snap_image *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	struct image_piece piece;
	uint8_t           *payload = malloc(c->len ? c->len : 1);
	int                rc;

	if (!payload)
		return fail_sys(why, "chunk buffer");
	rc = image_payload(s, c, at, payload, why);
	if (rc == 0)
		rc = images_chunk(s->images, c, payload, at, &piece, why);
	free(payload);
	return rc;
}

/* Its payload has been checked when the file was opened. */
int image_walk_map(struct snap_image *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	return image_walk_any(s, c, at, why);
}

int image_walk_round_end(struct snap_image *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (c->len != ROUND_END_PAYLOAD)
		return fail_at(why, FAIL_CORRUPT, at,
			       "round-end chunk: invalid length: %" PRIu32 " bytes", c->len);
	s->chunk_at = 0;
	return image_payload(s, c, at, s->payload, why);
}

int image_walk_state(struct snap_image *s, const struct chunk *c, uint64_t at, struct fail *why)
{
	(void)c;
	return images_end(s->images, at, why);
}

/* The chunk's order, number and payload, and its entry in the directory, of which *listed entries
 * have been met. */
static int image_walk_chunk(struct snap_image *s, const struct chunk *c, enum chunk_phase phase,
			    uint64_t n, size_t *listed, uint64_t at, struct fail *why)
{
	const struct chunk_info *info = chunk_info_find(c->type);

	if (chunk_check(c, s->header.layout, phase, at, why))
		return -1;
	if (c->sequence != n)
		return fail_at(why, FAIL_CORRUPT, at,
			       "%s chunk: sequence number %" PRIu64 ", expected %" PRIu64,
			       chunk_type_name(c->type), c->sequence, n);
	if (directory_lists(c->type) &&
	    (*listed == s->directory.n ||
	     !directory_entry_is(&s->directory.v[(*listed)++], c, at)))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: not in the directory",
			       chunk_type_name(c->type));
	return info ? info->walk(s, c, at, why) : 0;
}

/* Where the chunk behind this one begins. */
static uint64_t image_behind(const struct snap_image *s, const struct chunk *c, uint64_t at)
{
	return c->type == CHUNK_MAP ? s->map.end : at + chunk_bytes(c);
}

static int image_walk(struct snap_image *s, XXH3_state_t *x, snap_image_chunk_fn *fn, void *arg,
		      struct fail *why)
{
	enum chunk_phase phase = AFTER_HEADER;
	uint8_t          header[SNAP_HEADER_BYTES], file[16];
	uint64_t         end = s->bytes - SNAP_END_BYTES, n = 0;
	size_t           listed = 0;
	struct chunk     c;

	if (io_pread(s->fd, header, sizeof(header), 0, s->what, why))
		return -1;
	file_digest_header(x, header);
	for (uint64_t at = SNAP_HEADER_BYTES; at < end; at = image_behind(s, &c, at), n++) {
		if (image_header(s, header, &c, at, end, why) ||
		    image_walk_chunk(s, &c, phase, n, &listed, at, why))
			return -1;
		phase = chunk_phase_after(c.type, phase);
		file_digest_chunk(x, header);
		fn(arg, &c, s->payload);
	}
	c = chunk_of(CHUNK_END, n, SNAP_END_PAYLOAD);
	if (chunk_check(&c, s->header.layout, phase, end, why))
		return -1;
	digest_put(file, XXH3_128bits_digest(x));
	if (n != s->end.chunks || listed != s->directory.n ||
	    !digest_same(s->end.digests.file, file))
		return fail_at(why, FAIL_CORRUPT, end, "end chunk: file digest mismatch");
	return 0;
}

int snap_image_walk(struct snap_image *s, snap_image_chunk_fn *fn, void *arg, struct fail *why)
{
	XXH3_state_t *x = XXH3_createState();
	int           rc;

	if (!x)
		return fail_set(why, FAIL_SYSTEM, "%s: out of memory", s->what);
	images_reader_close(s->images);
	s->images = NULL;
	rc        = images_reader_open(&s->images, s->machine, why);
	if (rc == 0)
		rc = image_walk(s, x, fn, arg, why);
	XXH3_freeState(x);
	if (rc && why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	return rc;
}

bool snap_image_has_image(const struct snap_image *s, const char *name)
{
	return images_reader_has(s->images, name);
}
