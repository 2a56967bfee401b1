/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_POPULATED_H
#define LIBCOMMON_POPULATED_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a region's memfd has pages, so that work follows what a guest uses instead of what it was
 * given. Two answers:
 *
 * - populated_extent: exact, as of now, by two system calls an extent. For one pass over a region:
 *   what to audit, what a target holds before it is filled.
 * - the map of blocks: coarse (128 MiB, one page of a bitmap of pages), never shrinks, cheap to
 *   bring up to date. For work over bitmaps of pages that is repeated: a page exists before it is
 *   marked as written, so only these blocks of such a bitmap can have a bit set.
 *
 * Neither is a set of pages that its user adds to and removes from: that is libcommon/pageset.h. */

/**
 * populated_extent - find the next pages of a file that have data
 * @fd:     memfd or regular file; its file offset is moved
 * @npages: pages of the region, from the file's first byte on; pages behind it are not reported
 * @from:   page to begin at, 0 to @npages
 * @first:  out, first page with data, @from or above
 * @end:    out, page behind the last; a page that has data in part counts whole
 * @why:    FAIL_SYSTEM: the file cannot tell, or lseek failed
 *
 * To walk a region: call with 0, then with the last *@end until 0 is returned. The answer is of the
 * moment: a running guest may populate a page behind it.
 *
 * Return: 1: an extent; 0: none at or after @from; -1: *@why.
 */
int populated_extent(int fd, uint64_t npages, uint64_t from, uint64_t *first, uint64_t *end,
		     struct fail *why);

#define POPULATED_PAGES 32768u                      /* of a block */
#define POPULATED_WORDS (POPULATED_PAGES / 64)      /* of a bitmap of pages, for one block */

/* The blocks of a region; the bitmap of its pages has one page of 4096 bytes for each. */
static inline uint64_t populated_count(uint64_t npages)
{
	return npages / POPULATED_PAGES + (npages % POPULATED_PAGES != 0);
}

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
