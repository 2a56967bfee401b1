/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/array.h"
#include "libcommon/bytes.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where the chunks are that hold neither pages nor what finds them (docs/format.md 6). */

bool directory_lists(uint16_t type)
{
	return type != CHUNK_PAGES && type != CHUNK_INDEX && type != CHUNK_INDEX_LEVEL &&
	       type != CHUNK_HASHES && type != CHUNK_DIRECTORY && type != CHUNK_END;
}

int directory_add(struct directory *d, const struct chunk *c, uint64_t at, struct fail *why)
{
	if (!directory_lists(c->type))
		return 0;
	if (d->n == LIMIT_DIRECTORY)
		return fail_at(why, FAIL_LIMIT, at, "more than %u chunks besides pages",
			       LIMIT_DIRECTORY);
	if (d->n == d->capacity) {
		struct directory_entry *more = array_grow(d->v, &d->capacity, sizeof(*more));

		if (!more)
			return fail_sys(why, "directory");
		d->v = more;
	}
	d->v[d->n++] = (struct directory_entry){
		.type = c->type, .flags = c->flags, .region = c->region, .round = c->round,
		.len = c->len, .sequence = c->sequence, .at = at,
	};
	return 0;
}

void directory_free(struct directory *d)
{
	free(d->v);
	*d = (struct directory){ 0 };
}

void directory_entry_put(uint8_t out[DIRECTORY_ENTRY_BYTES], const struct directory_entry *e)
{
	put_le16(out, e->type);
	put_le16(out + 2, e->flags);
	put_le16(out + 4, e->region);
	put_le16(out + 6, 0);
	put_le32(out + 8, e->round);
	put_le32(out + 12, e->len);
	put_le64(out + 16, e->sequence);
	put_le64(out + 24, e->at);
}

int directory_entry_get(struct directory_entry *e, const uint8_t in[DIRECTORY_ENTRY_BYTES],
			uint64_t at, struct fail *why)
{
	e->type     = get_le16(in);
	e->flags    = get_le16(in + 2);
	e->region   = get_le16(in + 4);
	e->round    = get_le32(in + 8);
	e->len      = get_le32(in + 12);
	e->sequence = get_le64(in + 16);
	e->at       = get_le64(in + 24);
	if (get_le16(in + 6) || !directory_lists(e->type))
		return fail_at(why, FAIL_CORRUPT, at, "directory: invalid entry");
	return 0;
}

bool directory_entry_is(const struct directory_entry *e, const struct chunk *c, uint64_t at)
{
	return e->at == at && e->type == c->type && e->flags == c->flags &&
	       e->region == c->region && e->round == c->round && e->len == c->len &&
	       e->sequence == c->sequence;
}
