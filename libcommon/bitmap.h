/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_BITMAP_H
#define LIBCOMMON_BITMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One bit per page, in u64 words; bit 0 of word 0 is the region's first page. On disk and between
 * processes the words are little-endian; vmferry runs on little-endian hosts only (static_assert in
 * bitmap.c). */
typedef _Atomic uint64_t bitmap_word;   /* words that threads or processes share */

static inline size_t bitmap_words(uint64_t npages) { return (size_t)((npages + 63) / 64); }
static inline size_t bitmap_bytes(uint64_t npages) { return bitmap_words(npages) * 8; }

static inline bool bitmap_test(const uint64_t *map, uint64_t page)
{
	return map[page / 64] >> (page % 64) & 1;
}

static inline void bitmap_set(uint64_t *map, uint64_t page)
{
	map[page / 64] |= (uint64_t)1 << (page % 64);
}

/* The bits of word w that belong to pages [first, end), of which it has at least one. */
static inline uint64_t bitmap_mask(uint64_t w, uint64_t first, uint64_t end)
{
	uint64_t lo = first > w * 64 ? first - w * 64 : 0;
	uint64_t hi = end < w * 64 + 64 ? end - w * 64 : 64;

	return (hi == 64 ? UINT64_MAX : ((uint64_t)1 << hi) - 1) & (UINT64_MAX << lo);
}

/* Release: who takes the bit by an acquiring exchange sees the bytes written before the mark. */
static inline void bitmap_mark(bitmap_word *map, uint64_t page)
{
	uint64_t bit = (uint64_t)1 << (page % 64);

	/* Always read-modify-write: a plain load could see a bit that a sync is about to take, and
	 * the mark would be lost. */
	atomic_fetch_or_explicit(&map[page / 64], bit, memory_order_release);
}

/* A zeroed map of which only what is touched takes memory and time, also when one of its size was
 * closed before: such memory malloc keeps, and calloc clears it by hand. NULL: out of memory. */
void *bitmap_open(uint64_t npages);
/* NULL is fine. npages: as opened. */
void bitmap_close(void *map, uint64_t npages);

/* Sets pages [first, first + count); count may be 0. */
void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t count);
void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t count);
void bitmap_mark_range(bitmap_word *map, uint64_t first, uint64_t count);

/* Moves every set bit of the shared map into dst (dst |= src, src = 0), by an atomic exchange
 * (acq_rel) per u64. Returns how many bits were not in dst before. */
uint64_t bitmap_take(uint64_t *dst, bitmap_word *src, uint64_t npages);

uint64_t bitmap_count(const uint64_t *map, uint64_t npages);

/* The next run of set bits at or after `from`: *first, *count; false when there is none. */
bool bitmap_next_run(const uint64_t *map, uint64_t npages, uint64_t from, uint64_t *first,
		     uint64_t *count);

#endif
