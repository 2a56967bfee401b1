/* SPDX-License-Identifier: MIT */
#include "vminspect/rounds.h"

#include "libcommon/bytes.h"

void rounds_note(void *arg, const struct chunk *c, const uint8_t *payload)
{
	struct rounds *r = arg;

	r->chunks += c->type != CHUNK_END;
	if (c->type == CHUNK_PAGES && c->len >= 8) {
		r->rest.chunks++;
		r->rest.data_pages += get_le32(payload + 4);      /* docs/format.md, 4 */
		r->rest.bytes += CHUNK_HEADER_BYTES + c->len;
	} else if (c->type == CHUNK_ROUND_END && c->len >= 4) {
		struct round *last;

		if (r->n == ROUNDS_MAX) {
			last = &r->v[ROUNDS_MAX - 1];
			last->chunks += r->rest.chunks;
			last->data_pages += r->rest.data_pages;
			last->bytes += r->rest.bytes;
		} else {
			last  = &r->v[r->n++];
			*last = r->rest;
		}
		last->number = get_le32(payload);
		r->rest      = (struct round){ 0 };
	}
}
