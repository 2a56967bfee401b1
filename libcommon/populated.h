/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_POPULATED_H
#define LIBCOMMON_POPULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a region's memfd may have pages, in blocks of 128 MiB: one page of a bitmap of pages. A
 * page exists before it is marked as written, so only these blocks of such a bitmap can have a bit
 * set, and work over it follows what a guest uses instead of what it was given. */

#define POPULATED_PAGES 32768u                      /* of a block */
#define POPULATED_WORDS (POPULATED_PAGES / 64)      /* of a bitmap of pages, for one block */

/* The words of a map of blocks: a bit a block. */
static inline size_t populated_map_words(uint64_t npages)
{
	return (size_t)((npages / POPULATED_PAGES + 64) / 64);
}

/* Sets the bits of blocks that have data now; none is ever cleared, as a page that was punched out
 * has been written. Costs a system call for each gap and each new block. A file without SEEK_DATA
 * has all. */
void populated_look(uint64_t *blocks, int fd, uint64_t npages);

/* The next run of such blocks at or after page `from`: pages [*first, *end), which begins at `from`
 * when that lies in a block. False: there is none. */
bool populated_next(const uint64_t *blocks, uint64_t npages, uint64_t from, uint64_t *first,
		    uint64_t *end);

#endif
