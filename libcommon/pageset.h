/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_PAGESET_H
#define LIBCOMMON_PAGESET_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* A set of page numbers as a bitmap with summaries: above each 64 words is a word that says which
 * of them are not zero, up to a single one. Finding the next member looks at a few words however
 * far away it is, so that work follows the pages that are in the set, not the size of the region
 * that they are in. Memory that was never touched is not there (bitmap_open).
 *
 * For a set of one owner that grows and shrinks, such as the pages of a region that a peer or a
 * snapshot has written. Where a bitmap is shared with vmrun or the accelerator, and thus flat, the
 * map of blocks of libcommon/populated.h says which parts of it to look at. */
#define PAGESET_LEVELS 6      /* 64^6 pages */

struct pageset {
	uint64_t  npages;
	unsigned  levels;
	uint64_t *level[PAGESET_LEVELS];      /* level[0]: one bit a page */
	uint64_t  words;                      /* looked at or changed so far; tests bound it */
};

int pageset_open(struct pageset *s, uint64_t npages, struct fail *why);
void pageset_close(struct pageset *s);      /* a zeroed one may be closed */

/* Pages [first, first + count), which lie within npages; count may be 0. */
void pageset_add(struct pageset *s, uint64_t first, uint64_t count);
void pageset_drop(struct pageset *s, uint64_t first, uint64_t count);
bool pageset_has(const struct pageset *s, uint64_t page);

/* The first run of members in [from, end): *first, *count; false when there is none. */
bool pageset_next(struct pageset *s, uint64_t from, uint64_t end, uint64_t *first, uint64_t *count);

#endif
