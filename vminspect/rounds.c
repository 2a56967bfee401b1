/* SPDX-License-Identifier: MIT */
#include "vminspect/rounds.h"

#include "libcommon/bytes.h"

void rounds_note(void *arg, const struct chunk *c, const uint8_t *payload)
{
	struct rounds *r = arg;

	r->chunks += c->type != CHUNK_END;
	if (c->type == CHUNK_PAGES && c->len >= 8) {
		r->rest.chunks++;
		r->rest.data_pages += get_le32(payload + 4);      /* docs/format.md 4 */
		r->rest.bytes += chunk_bytes(c);
	} else if (c->type == CHUNK_ROUND_END) {
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
		last->number = c->round;
		r->rest      = (struct round){ 0 };
	}
}
