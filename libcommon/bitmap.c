/* SPDX-License-Identifier: MIT */
#include "libcommon/bitmap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "bitmaps are shared as little-endian words");

#define BITMAP_SMALL 65536u      /* bytes that calloc may clear */

void *bitmap_open(uint64_t npages)
{
	size_t len = bitmap_bytes(npages);
	void  *map;

	if (len <= BITMAP_SMALL)
		return calloc(1, len ? len : 1);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (map == MAP_FAILED) {
		errno = ENOMEM;
		return NULL;
	}
	/* A bit is not worth 2 MiB. */
	madvise(map, len, MADV_NOHUGEPAGE);
	return map;
}

void bitmap_close(void *map, uint64_t npages)
{
	size_t len = bitmap_bytes(npages);

	if (map && len > BITMAP_SMALL)
		munmap(map, len);
	else
		free(map);
}

void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t count)
{
	for (uint64_t w = first / 64; count && w <= (first + count - 1) / 64; w++)
		map[w] |= bitmap_mask(w, first, first + count);
}

void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t count)
{
	for (uint64_t w = first / 64; count && w <= (first + count - 1) / 64; w++)
		map[w] &= ~bitmap_mask(w, first, first + count);
}

void bitmap_mark_range(bitmap_word *map, uint64_t first, uint64_t count)
{
	for (uint64_t w = first / 64; count && w <= (first + count - 1) / 64; w++)
		atomic_fetch_or_explicit(&map[w], bitmap_mask(w, first, first + count),
					 memory_order_release);
}

uint64_t bitmap_take(uint64_t *dst, bitmap_word *src, uint64_t npages)
{
	uint64_t fresh = 0;

	for (size_t w = 0; w < bitmap_words(npages); w++) {
		if (!atomic_load_explicit(&src[w], memory_order_relaxed))
			continue;
		uint64_t got = atomic_exchange_explicit(&src[w], 0, memory_order_acq_rel);

		fresh += (uint64_t)__builtin_popcountll(got & ~dst[w]);
		dst[w] |= got;
	}
	return fresh;
}

uint64_t bitmap_count(const uint64_t *map, uint64_t npages)
{
	uint64_t n = 0;

	for (size_t w = 0; w < bitmap_words(npages); w++)
		n += (uint64_t)__builtin_popcountll(map[w]);
	return n;
}

/* The first bit at or after `from` that equals want; npages when there is none. */
static uint64_t bitmap_find(const uint64_t *map, uint64_t npages, uint64_t from, bool want)
{
	while (from < npages) {
		uint64_t word = map[from / 64] ^ (want ? 0 : UINT64_MAX);

		word &= UINT64_MAX << (from % 64);
		if (word) {
			uint64_t at = from / 64 * 64 + (uint64_t)__builtin_ctzll(word);

			return at < npages ? at : npages;
		}
		from = (from / 64 + 1) * 64;
	}
	return npages;
}

bool bitmap_next_run(const uint64_t *map, uint64_t npages, uint64_t from, uint64_t *first,
		     uint64_t *count)
{
	*first = bitmap_find(map, npages, from, true);
	if (*first >= npages)
		return false;
	*count = bitmap_find(map, npages, *first, false) - *first;
	return true;
}
