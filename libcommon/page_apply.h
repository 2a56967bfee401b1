/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_PAGE_APPLY_H
#define LIBCOMMON_PAGE_APPLY_H

#include "libcommon/fail.h"
#include "libcommon/pages.h"

/* Applies batches in a thread of its own, in their order, while the next ones are read and
 * verified. One user thread. */

#define PAGE_APPLY_MAX 8u      /* batches that may be waiting */

/* Puts a batch where it belongs: page_sink_batch, for one. */
typedef int page_apply_fn(void *arg, const struct page_batch *b, struct fail *why);

struct page_apply;

/**
 * page_apply_open
 * @out:   out
 * @depth: batches that are the thread's at a time, 1 to PAGE_APPLY_MAX
 * @fn:    called by the thread
 * @arg:   its first argument
 * @why:   FAIL_SYSTEM
 */
int page_apply_open(struct page_apply **out, unsigned depth, page_apply_fn *fn, void *arg,
		    struct fail *why);
/* The batch is the thread's until @depth others have been submitted after it. A failure of an
 * earlier batch is reported by each later call; nothing is applied behind it. */
int page_apply_submit(struct page_apply *a, const struct page_batch *b, struct fail *why);
/* Until all have been applied. */
int page_apply_finish(struct page_apply *a, struct fail *why);
/* Drops what waits. NULL is fine. */
void page_apply_close(struct page_apply *a);

#endif
