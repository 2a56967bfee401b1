/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_CONVERT_PAGES_H
#define VMSNAP_CONVERT_PAGES_H

#include "format/snapshot/snapshot.h"
#include "libcommon/client/progress.h"
#include "vmsnap/space.h"

/* Pages of a snapshot into another one: each once, in ascending order of region and number, in
 * batches that depend on nothing but the pages. So the result is the same whatever layout, rounds
 * and chunks they come from. */
struct convert_pages {
	struct snap_image  *from;
	struct snap_writer *to;
	struct space       *space;          /* of what `to` writes */
	struct progress    *progress;
	uint64_t            of;             /* data pages that are expected, for progress */
	uint64_t            data, zero;     /* out: pages of each kind */

	/* private */
	struct page_batch  *b;
	uint64_t            zero_first, zero_count;      /* run that is not in the batch yet */
};

int convert_pages(struct convert_pages *p, struct fail *why);

#endif
