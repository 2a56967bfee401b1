/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/array.h"
#include "libcommon/bytes.h"

#include <stdlib.h>

/* The levels of keys above the index (docs/format.md 6): a static search tree, whose shape follows
 * from the number of runs. */

static const struct { uint32_t entries, bytes; } level_of[2] = {
	{ INDEX_CHUNK_RUNS, INDEX_RUN_BYTES }, { INDEX_LEVEL_KEYS, INDEX_KEY_BYTES },
};

void index_shape_of(struct index_shape *s, uint64_t index_at, uint64_t runs)
{
	uint64_t at = index_at, entries = runs;
	unsigned level = 0;

	*s = (struct index_shape){ 0 };
	for (;; level++) {
		uint32_t most = level_of[level > 0].entries;

		s->entries[level] = entries;
		s->chunks[level]  = entries ? (entries + most - 1) / most : 1;
		s->at[level]      = at;
		at += s->chunks[level] * CHUNK_HEADER_BYTES +
		      entries * level_of[level > 0].bytes;
		if (s->chunks[level] == 1)
			break;
		assert(level < INDEX_LEVELS);
		entries = s->chunks[level];
	}
	s->levels = level;
	s->end    = at;
}

uint32_t index_shape_entries(const struct index_shape *s, unsigned level, uint64_t i)
{
	uint32_t most = level_of[level > 0].entries;
	uint64_t left = s->entries[level] - i * most;

	return left < most ? (uint32_t)left : most;
}

uint64_t index_shape_at(const struct index_shape *s, unsigned level, uint64_t i)
{
	return s->at[level] + i * (CHUNK_HEADER_BYTES + (uint64_t)level_of[level > 0].entries *
							 level_of[level > 0].bytes);
}

void index_key_put(uint8_t out[INDEX_KEY_BYTES], const struct index_key *k)
{
	memset(out, 0, INDEX_KEY_BYTES);
	put_le16(out, (uint16_t)k->region);
	put_le64(out + 8, k->first);
}

int index_key_get(struct index_key *k, const uint8_t in[INDEX_KEY_BYTES], uint64_t at,
		  struct fail *why)
{
	k->region = get_le16(in);
	k->first  = get_le64(in + 8);
	if (k->region >= LIMIT_REGIONS || !bytes_all_zero(in + 2, 6))
		return fail_at(why, FAIL_CORRUPT, at, "index: invalid key");
	return 0;
}

int index_keys_add(struct index_keys *k, const struct index_run *first, struct fail *why)
{
	if (k->n == k->capacity) {
		struct index_key *more = array_grow(k->v, &k->capacity, sizeof(*more));

		if (!more)
			return fail_sys(why, "index");
		k->v = more;
	}
	k->v[k->n++] = (struct index_key){ .region = first->region, .first = first->first };
	return 0;
}

void index_keys_free(struct index_keys *k)
{
	free(k->v);
	*k = (struct index_keys){ 0 };
}

size_t index_level_payload(const struct index_keys *k, const struct index_shape *s, unsigned level,
			   uint64_t i, uint8_t out[INDEX_LEVEL_KEYS * INDEX_KEY_BYTES])
{
	uint32_t n    = index_shape_entries(s, level, i);
	uint64_t step = 1, at = i * INDEX_LEVEL_KEYS;

	/* The keys of a level are every 4096th of the one below. */
	while (--level)
		step *= INDEX_LEVEL_KEYS;
	for (uint32_t e = 0; e < n; e++)
		index_key_put(out + (size_t)e * INDEX_KEY_BYTES, &k->v[(at + e) * step]);
	return (size_t)n * INDEX_KEY_BYTES;
}
