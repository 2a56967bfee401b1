/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_PAGE_SINK_H
#define LIBCOMMON_PAGE_SINK_H

#include "libcommon/fail.h"
#include "libcommon/pages.h"
#include "libcommon/pageset.h"

#include <stdint.h>

/* Pages of a snapshot or a move into a region's memfd: by descriptor, never through a mapping (a
 * fault a page costs four times as much). Zero pages only give back what was there: neither time
 * nor memory follows the number of pages that a run claims. */
struct page_sink {
	int            fd;
	const char    *name;          /* the region's, for messages */
	struct pageset written;       /* pages that may hold data */
};

/* fd and name stay the caller's. Notes which pages have data already (populated_extent). */
int page_sink_open(struct page_sink *s, int fd, uint64_t npages, const char *name,
		   struct fail *why);
void page_sink_close(struct page_sink *s);      /* a zeroed one may be closed */

/* The batch's runs in order; its region is the caller's business. A run outside the region is
 * FAIL_CORRUPT, a page left to a parent snapshot FAIL_VERSION. */
int page_sink_batch(struct page_sink *s, const struct page_batch *b, struct fail *why);

#endif
