/* SPDX-License-Identifier: MIT */
#include "format/snapshot/auth.h"
#include "format/snapshot/file_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* What the directory of a file lists besides its trees: MACs, images, optional chunks. */

static int parts_failed(const struct snap_image *s, struct fail *why)
{
	return why->kind == FAIL_SYSTEM ? -1 : fail_prefix(why, "%s: ", s->what);
}

/* The payload of a listed chunk, malloc'd. */
static int parts_read(struct snap_image *s, const struct directory_entry *e, uint8_t **payload,
		      struct fail *why)
{
	if (e->len > LIMIT_CHUNK_BYTES)
		return fail_at(why, FAIL_LIMIT, e->at,
			       "%s chunk: payload of %" PRIu32 " bytes exceeds the limit of %u",
			       chunk_type_name(e->type), e->len, LIMIT_CHUNK_BYTES);
	*payload = malloc(e->len ? e->len : 1);
	if (!*payload)
		return fail_sys(why, "%s: chunk", s->what);
	if (image_listed(s, e, *payload, why) == 0)
		return 0;
	free(*payload);
	*payload = NULL;
	return -1;
}

int snap_image_optional(struct snap_image *s, uint16_t type, size_t n, uint8_t **payload,
			size_t *len, struct fail *why)
{
	const struct directory_entry *e = s->directory.v, *end = e + s->directory.n;

	while (e < end && (e->type != type || n--))
		e++;
	if (e == end)
		return 0;
	*len = e->len;
	return parts_read(s, e, payload, why) ? parts_failed(s, why) : 1;
}

/* In which of the two places an AUTH chunk of our algorithm stands; 0: of another algorithm. */
static int parts_auth_at(const struct snap_image *s, size_t i, unsigned covers, struct fail *why)
{
	const struct directory_entry *e = &s->directory.v[i];
	const struct directory_entry *next = i + 1 < s->directory.n ? e + 1 : NULL;

	if (covers == AUTH_CONFIG && e->sequence != 1)
		return fail_at(why, FAIL_CORRUPT, e->at, "auth chunk: not directly after CONFIG");
	if (covers == AUTH_ALL &&
	    (!next || next->type != CHUNK_STATE || next->sequence != e->sequence + 1))
		return fail_at(why, FAIL_CORRUPT, e->at, "auth chunk: not directly before STATE");
	return 0;
}

static int parts_auth(struct snap_image *s, const struct hostkey *k, enum snap_auth *config,
		      enum snap_auth *all, struct fail *why)
{
	const struct auth_text text = {
		.header     = &s->header,
		.config     = s->trees[0],
		.config_len = s->lens[0],
		.state      = s->trees[1],
		.state_len  = s->lens[1],
		.memory     = s->end.digests.memory,
	};

	for (size_t i = 0; i < s->directory.n; i++) {
		const struct directory_entry *e = &s->directory.v[i];
		uint8_t                       payload[AUTH_BYTES];
		unsigned                      covers;

		if (e->type != CHUNK_AUTH)
			continue;
		if (e->len != AUTH_BYTES)
			return fail_at(why, FAIL_CORRUPT, e->at,
				       "auth chunk: invalid length: %" PRIu32 " bytes, expected %u",
				       e->len, AUTH_BYTES);
		if (image_listed(s, e, payload, why) ||
		    auth_get(&covers, payload, e->len, e->at, why) ||
		    parts_auth_at(s, i, covers, why))
			return -1;
		if (covers && auth_check(covers == AUTH_CONFIG ? config : all, payload,
					 (enum auth_covers)covers, k, &text, why))
			return -1;
	}
	return 0;
}

int snap_image_auth(struct snap_image *s, const struct hostkey *k, enum snap_auth *config,
		    enum snap_auth *all, struct fail *why)
{
	*config = *all = SNAP_AUTH_NONE;
	return parts_auth(s, k, config, all, why) ? parts_failed(s, why) : 0;
}

static int parts_piece(struct snap_image *s, const struct directory_entry *e,
		       snap_image_piece_fn *fn, void *arg, struct fail *why)
{
	const struct chunk c = { .type = e->type, .len = e->len };
	struct image_piece piece;
	uint8_t           *payload;
	int                rc;

	if (parts_read(s, e, &payload, why))
		return -1;
	rc = images_chunk(s->images, &c, payload, e->at, &piece, why);
	if (rc == 0)
		rc = fn(arg, &piece, why);
	free(payload);
	return rc;
}

int snap_image_pieces(struct snap_image *s, snap_image_piece_fn *fn, void *arg, struct fail *why)
{
	images_reader_close(s->images);
	s->images = NULL;
	if (images_reader_open(&s->images, s->machine, why))
		return -1;
	for (size_t i = 0; i < s->directory.n; i++)
		if (s->directory.v[i].type == CHUNK_BLOB &&
		    parts_piece(s, &s->directory.v[i], fn, arg, why))
			return parts_failed(s, why);
	return images_end(s->images, s->end.directory_at, why) ? parts_failed(s, why) : 0;
}
