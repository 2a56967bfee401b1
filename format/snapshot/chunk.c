/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"

#include <assert.h>
#include <inttypes.h>

static const uint8_t chunk_magic[4] = { 'V', 'M', 'S', 'c' };

enum {
	AT_TYPE = 4, AT_FLAGS = 6, AT_ENCODING = 8, AT_CIPHER = 10, AT_REGION = 12,
	AT_RESERVED_14 = 14, AT_ROUND = 16, AT_LENGTH = 20, AT_SEQUENCE = 24, AT_HASHED = 32,
	AT_RESERVED_36 = 36, AT_HASH = 40, AT_RESERVED_48 = 48, AT_HEADER_HASH = 56,
};

struct chunk chunk_of(uint16_t type, uint64_t sequence, size_t len)
{
	assert(len <= LIMIT_CHUNK_BYTES);
	return (struct chunk){
		.type     = type,
		.flags    = chunk_type_flags(type),
		.sequence = sequence,
		.len      = (uint32_t)len,
		.hashed   = (uint32_t)len,
	};
}

void chunk_header_put(uint8_t out[CHUNK_HEADER_BYTES], struct chunk *c, const void *payload)
{
	assert(c->len <= LIMIT_CHUNK_BYTES && c->hashed <= c->len);
	c->hash = XXH3_64bits(payload, c->hashed);
	memset(out, 0, CHUNK_HEADER_BYTES);
	memcpy(out, chunk_magic, sizeof(chunk_magic));
	put_le16(out + AT_TYPE, c->type);
	put_le16(out + AT_FLAGS, c->flags);
	put_le16(out + AT_ENCODING, c->encoding);
	put_le16(out + AT_REGION, c->region);
	put_le32(out + AT_ROUND, c->round);
	put_le32(out + AT_LENGTH, c->len);
	put_le64(out + AT_SEQUENCE, c->sequence);
	put_le32(out + AT_HASHED, c->hashed);
	put_le64(out + AT_HASH, c->hash);
	put_le64(out + AT_HEADER_HASH, XXH3_64bits(out, AT_HEADER_HASH));
}

int chunk_header_get(struct chunk *c, const uint8_t in[CHUNK_HEADER_BYTES], uint64_t at,
		     struct fail *why)
{
	if (memcmp(in, chunk_magic, sizeof(chunk_magic)) != 0)
		return fail_at(why, FAIL_CORRUPT, at, "invalid chunk magic");
	if (!hash_same(get_le64(in + AT_HEADER_HASH), XXH3_64bits(in, AT_HEADER_HASH)))
		return fail_at(why, FAIL_CORRUPT, at, "chunk header checksum mismatch");
	*c = (struct chunk){
		.type     = get_le16(in + AT_TYPE),
		.flags    = get_le16(in + AT_FLAGS),
		.encoding = get_le16(in + AT_ENCODING),
		.region   = get_le16(in + AT_REGION),
		.round    = get_le32(in + AT_ROUND),
		.len      = get_le32(in + AT_LENGTH),
		.sequence = get_le64(in + AT_SEQUENCE),
		.hashed   = get_le32(in + AT_HASHED),
		.hash     = get_le64(in + AT_HASH),
	};
	if (get_le16(in + AT_RESERVED_14) || get_le32(in + AT_RESERVED_36) ||
	    get_le64(in + AT_RESERVED_48))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: reserved header bytes not zero",
			       chunk_type_name(c->type));
	if (c->flags & ~CHUNK_REQUIRED)
		return fail_at(why, FAIL_VERSION, at, "%s chunk: unsupported flags 0x%x",
			       chunk_type_name(c->type), c->flags);
	if (c->encoding > CHUNK_ZSTD)
		return fail_at(why, FAIL_VERSION, at, "%s chunk: unsupported encoding %u",
			       chunk_type_name(c->type), c->encoding);
	if (get_le16(in + AT_CIPHER))
		return fail_at(why, FAIL_VERSION, at, "%s chunk: unsupported cipher %u",
			       chunk_type_name(c->type), get_le16(in + AT_CIPHER));
	if (c->len > LIMIT_CHUNK_BYTES)
		return fail_at(why, FAIL_LIMIT, at,
			       "%s chunk: payload of %" PRIu32 " bytes exceeds the limit of %u",
			       chunk_type_name(c->type), c->len, LIMIT_CHUNK_BYTES);
	if (c->hashed > c->len)
		return fail_at(why, FAIL_CORRUPT, at,
			       "%s chunk: hash covers %" PRIu32 " bytes of a payload of %" PRIu32,
			       chunk_type_name(c->type), c->hashed, c->len);
	return 0;
}

int chunk_payload_check(const struct chunk *c, const uint8_t *payload, uint64_t at,
			struct fail *why)
{
	if (!hash_same(c->hash, XXH3_64bits(payload, c->hashed)))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: payload checksum mismatch",
			       chunk_type_name(c->type));
	return 0;
}

int chunk_padding_check(const struct chunk *c, const uint8_t *padding, uint64_t at,
			struct fail *why)
{
	if (!bytes_all_zero(padding, chunk_padding(c->len)))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: padding not zero",
			       chunk_type_name(c->type));
	return 0;
}
