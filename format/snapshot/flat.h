/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_FLAT_H
#define FORMAT_SNAPSHOT_FLAT_H

#include "format/snapshot/snapshot_internal.h"

/* The flat layout (docs/format.md 10): where memory is in the file, and the table of its hashes. */

#define FLAT_ALIGN      ((uint64_t)2 << 20)
#define MAP_ENTRY_BYTES 24u
#define MAP_MAX         (LIMIT_REGIONS * MAP_ENTRY_BYTES)

/**
 * struct flat_map - where the regions are
 * @begin: file offset behind the MAP chunk
 * @at:    file offset of each region's first page, by id; 0: there is no such region
 * @end:   file offset behind the last page of all: the next chunk's
 */
struct flat_map {
	uint64_t begin, at[LIMIT_REGIONS], end;
};

/* All of it follows from the regions' sizes in pages, by id, 0 for none, and the file offset of the
 * MAP chunk's header, at most 2^62. */
void flat_map_of(struct flat_map *m, const uint64_t npages[LIMIT_REGIONS], uint64_t map_at);
/* MAP's payload: its length. */
size_t flat_map_put(uint8_t out[MAP_MAX], const struct flat_map *m,
		    const uint64_t npages[LIMIT_REGIONS]);
/* FAIL_CORRUPT: a payload that is not the one that follows. */
int flat_map_check(const struct flat_map *m, const uint64_t npages[LIMIT_REGIONS],
		   const uint8_t *payload, size_t len, uint64_t at, struct fail *why);

/* The hash table: the hashes of all data pages, in order. */
#define HASHES_CHUNK 8192u             /* in every HASHES chunk but the last */
#define HASHES_MAX   (HASHES_CHUNK * 8u)

static inline uint64_t hashes_chunks(uint64_t hashes)
{
	return hashes / HASHES_CHUNK + (hashes % HASHES_CHUNK != 0);
}

/* Hashes in chunk i of them. */
static inline uint32_t hashes_in(uint64_t hashes, uint64_t i)
{
	uint64_t left = hashes - i * HASHES_CHUNK;

	return (uint32_t)(left < HASHES_CHUNK ? left : HASHES_CHUNK);
}

/* Offset of chunk i behind the first. */
static inline uint64_t hashes_offset(uint64_t i)
{
	return i * (CHUNK_HEADER_BYTES + HASHES_MAX);
}

/* The payload of the next HASHES chunk of what content has seen: its length, 0 at the end. Start
 * with a zeroed cursor. */
struct hashes_cursor { uint32_t region; uint64_t page; };
size_t hashes_next(const struct content *c, struct hashes_cursor *i, uint8_t out[HASHES_MAX]);
/* The page of hash number n of the payload that begins at the cursor, which then names it. */
void hashes_page(const struct content *c, struct hashes_cursor *i, size_t n);

#endif
