/* SPDX-License-Identifier: MIT */
#include "format/snapshot/chunk_info.h"

#include <inttypes.h>

#define CHUNK_ROW(constant, number, stream_reader, walk_reader, ...) \
	{ .type = (number), .stream = stream_reader, .walk = walk_reader, __VA_ARGS__ },
static const struct chunk_info chunk_table[] = { CHUNK_LIST(CHUNK_ROW) };
#undef CHUNK_ROW

const struct chunk_info *chunk_info_find(uint16_t type)
{
	for (size_t i = 0; i < sizeof(chunk_table) / sizeof(chunk_table[0]); i++)
		if (chunk_table[i].type == type)
			return &chunk_table[i];
	return NULL;
}

const char *chunk_type_name(uint16_t type)
{
	const struct chunk_info *info = chunk_info_find(type);

	return info ? info->name : "unknown";
}

uint16_t chunk_type_flags(uint16_t type)
{
	const struct chunk_info *info = chunk_info_find(type);

	return info && info->required ? CHUNK_REQUIRED : 0;
}

bool chunk_type_moves(uint16_t type)
{
	const struct chunk_info *info = chunk_info_find(type);

	return info && info->moves;
}

int chunk_unexpected(const struct chunk *c, uint64_t at, struct fail *why)
{
	return fail_at(why, FAIL_CORRUPT, at, "%s chunk: unexpected at this point",
		       chunk_type_name(c->type));
}

int chunk_fields_check(const struct chunk *c, uint64_t at, struct fail *why)
{
	const struct chunk_info *info = chunk_info_find(c->type);

	if (!info)
		return 0;
	if (c->flags != chunk_type_flags(c->type))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: invalid flags 0x%x", info->name,
			       c->flags);
	if (!info->paged && (c->region || c->encoding))
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: region or encoding not zero",
			       info->name);
	if (!info->rounds && c->round)
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: round not zero", info->name);
	if (!info->paged && c->hashed != (info->unhashed ? 0 : c->len))
		return fail_at(why, FAIL_CORRUPT, at,
			       "%s chunk: hash covers %" PRIu32 " bytes of a payload of %" PRIu32,
			       info->name, c->hashed, c->len);
	return 0;
}

/* A type that only moves have, or that is reserved, is as good as unknown. */
bool chunk_optional(uint16_t type)
{
	const struct chunk_info *info = chunk_info_find(type);

	return !info || !info->after || info->after == AFTER_ANYTHING;
}

bool chunk_may_come(uint16_t type, enum snap_layout layout, enum chunk_phase phase)
{
	const struct chunk_info *info = chunk_info_find(type);

	if (chunk_optional(type))
		return AFTER_ANYTHING & phase;
	/* A flat snapshot has its memory before its state. */
	if (layout == SNAP_FLAT && type == CHUNK_STATE && phase == AFTER_CONFIG)
		return false;
	return info->after & phase && (!info->layout || info->layout == layout);
}

int chunk_check(const struct chunk *c, enum snap_layout layout, enum chunk_phase phase,
		uint64_t at, struct fail *why)
{

	if (chunk_optional(c->type) && c->flags & CHUNK_REQUIRED)
		return fail_at(why, FAIL_VERSION, at, "unsupported required chunk: %s (type %u)",
			       chunk_type_name(c->type), c->type);
	if (chunk_fields_check(c, at, why))
		return -1;
	return chunk_may_come(c->type, layout, phase) ? 0 : chunk_unexpected(c, at, why);
}

enum chunk_phase chunk_phase_after(uint16_t type, enum chunk_phase phase)
{
	const struct chunk_info *info = chunk_info_find(type);

	/* The chunks of the index, of its levels and of the hashes follow each other directly. */
	if (chunk_optional(type) &&
	    (phase == AFTER_INDEX || phase == AFTER_LEVEL || phase == AFTER_HASHES))
		return AFTER_TABLES;
	return info && info->phase ? info->phase : phase;
}
