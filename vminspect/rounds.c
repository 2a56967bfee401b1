#include "vminspect/rounds.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <string.h>

void rounds_note(struct rounds *r, const struct chunk *c, const uint8_t *payload)
{
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

int rounds_scan(struct rounds *r, int fd, uint64_t bytes, const char *what, struct fail *why)
{
	uint8_t      head[CHUNK_HEADER_BYTES + 8];
	struct chunk c;

	for (uint64_t at = SNAP_HEADER_BYTES; at < bytes; at += CHUNK_HEADER_BYTES + (uint64_t)c.len) {
		size_t want = bytes - at < sizeof(head) ? (size_t)(bytes - at) : sizeof(head);

		memset(head, 0, sizeof(head));
		if (want < CHUNK_HEADER_BYTES)
			return fail_at(why, FAIL_CORRUPT, at, "%s: the snapshot is cut off here", what);
		if (io_pread(fd, head, want, at, what, why))
			return -1;
		if (chunk_header_get(&c, head, at, why))
			return fail_prefix(why, "%s: ", what);
		if (c.len > bytes - at - CHUNK_HEADER_BYTES)
			return fail_at(why, FAIL_CORRUPT, at, "%s: %s chunk: longer than what is left", what, chunk_type_name(c.type));
		rounds_note(r, &c, head + CHUNK_HEADER_BYTES);
	}
	return 0;
}
