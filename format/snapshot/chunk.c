/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"

#include <assert.h>
#include <inttypes.h>

static const uint8_t chunk_magic[4] = { 'V', 'M', 'S', 'c' };

void chunk_header_put(uint8_t out[CHUNK_HEADER_BYTES], uint16_t type, uint16_t flags,
		      uint16_t encoding, uint32_t region, const void *payload, uint32_t len)
{
	assert(len <= LIMIT_CHUNK_BYTES);
	memset(out, 0, CHUNK_HEADER_BYTES);
	memcpy(out, chunk_magic, sizeof(chunk_magic));
	put_le16(out + 4, type);
	put_le16(out + 6, flags);
	put_le16(out + 8, encoding);
	put_le32(out + 12, region);
	put_le64(out + 16, len);
	put_le64(out + 24, XXH3_64bits(payload, len));
	put_le64(out + 40, XXH3_64bits(out, 40));
}

int chunk_header_get(struct chunk *c, const uint8_t in[CHUNK_HEADER_BYTES], uint64_t at,
		     struct fail *why)
{
	if (memcmp(in, chunk_magic, sizeof(chunk_magic)) != 0)
		return fail_at(why, FAIL_CORRUPT, at, "invalid chunk magic");
	if (!hash_same(get_le64(in + 40), XXH3_64bits(in, 40)))
		return fail_at(why, FAIL_CORRUPT, at, "chunk header checksum mismatch");
	c->type     = get_le16(in + 4);
	c->flags    = get_le16(in + 6);
	c->encoding = get_le16(in + 8);
	c->region   = get_le32(in + 12);
	c->hash     = get_le64(in + 24);
	if (!bytes_all_zero(in + 10, 2) || !bytes_all_zero(in + 32, 8))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: reserved header bytes not zero",
			       chunk_type_name(c->type));
	if (c->flags & ~CHUNK_REQUIRED)
		return fail_at(why, FAIL_VERSION, at, "%s chunk: unsupported flags 0x%x",
			       chunk_type_name(c->type), c->flags);
	if (c->encoding > 1)
		return fail_at(why, FAIL_VERSION, at, "%s chunk: unsupported encoding %u",
			       chunk_type_name(c->type), c->encoding);
	if (get_le64(in + 16) > LIMIT_CHUNK_BYTES)
		return fail_at(why, FAIL_LIMIT, at,
			       "%s chunk: payload of %" PRIu64 " bytes exceeds the limit of %u",
			       chunk_type_name(c->type), get_le64(in + 16), LIMIT_CHUNK_BYTES);
	c->len = (uint32_t)get_le64(in + 16);
	return 0;
}

int chunk_payload_check(const struct chunk *c, const uint8_t *payload, uint64_t at,
			struct fail *why)
{
	if (!hash_same(c->hash, XXH3_64bits(payload, c->len)))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: payload checksum mismatch",
			       chunk_type_name(c->type));
	return 0;
}
