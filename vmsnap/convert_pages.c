/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert_pages.h"

#include <assert.h>

/* A batch ends with the region, and as soon as it has BATCH_PAGES data pages or is nearly full of
 * runs. A run of zero pages is put into it only when something else follows: a run must not depend
 * on how the source cuts it into pieces. What may be added before the next look at the batch is
 * such a run, which its 32-bit count may cut in two, and a data page. */
#define PAGES_RUNS (BATCH_RUNS - 3)
static_assert(LIMIT_REGION_BYTES / PAGE_SIZE_4K <= 2 * (uint64_t)UINT32_MAX,
	      "a run of zero pages may take more than two runs of a batch");

static int pages_begin(struct convert_pages *p, uint32_t region, struct fail *why)
{
	p->b = snap_writer_batch(p->to, why);
	if (!p->b)
		return -1;
	page_batch_begin(p->b, region);
	return 0;
}

static int pages_flush(struct convert_pages *p, struct fail *why)
{
	if (space_next(p->space, snap_writer_bytes(p->to), sizeof(*p->b), why))
		return -1;
	progress_ops.copied(p->progress, 0, p->data, p->of);
	return snap_writer_pages(p->to, p->b, why);
}

/* Goes on with another batch of the region if this one is full. */
static int pages_room(struct convert_pages *p, struct fail *why)
{
	if (p->b->ndata < BATCH_PAGES && p->b->nruns < PAGES_RUNS)
		return 0;
	return pages_flush(p, why) || pages_begin(p, p->b->region, why) ? -1 : 0;
}

/* The run of zero pages that waits. */
static void pages_put_zero(struct convert_pages *p)
{
	while (p->zero_count) {
		uint64_t n = p->zero_count < UINT32_MAX ? p->zero_count : UINT32_MAX;

		p->b->runs[p->b->nruns++] = (struct page_run){
			.first = p->zero_first, .count = (uint32_t)n, .kind = PAGE_ZERO,
		};
		p->zero_first += n;
		p->zero_count -= n;
	}
}

static int pages_zero(struct convert_pages *p, uint64_t first, uint64_t count, struct fail *why)
{
	p->zero += count;
	if (p->zero_count && p->zero_first + p->zero_count == first) {
		p->zero_count += count;
		return 0;
	}
	pages_put_zero(p);
	p->zero_first = first;
	p->zero_count = count;
	return pages_room(p, why);
}

static int pages_data(struct convert_pages *p, uint64_t page, struct fail *why)
{
	uint8_t       *slot = page_batch_slot(p->b);
	enum page_kind kind;

	if (snap_image_page(p->from, p->b->region, page, slot, &kind, why))
		return -1;
	/* To readers it is the same; the flat layout has no data pages that are zero. */
	if (kind == PAGE_ZERO || page_is_zero(slot, PAGE_SIZE_4K))
		return pages_zero(p, page, 1, why);
	pages_put_zero(p);
	page_batch_add_data(p->b, page);
	p->data++;
	return pages_room(p, why);
}

static int pages_region_end(struct convert_pages *p, struct fail *why)
{
	pages_put_zero(p);
	return p->b->nruns ? pages_flush(p, why) : 0;
}

static int pages_run(struct convert_pages *p, uint64_t first, uint64_t count, enum page_kind kind,
		     struct fail *why)
{
	if (kind == PAGE_ZERO)
		return pages_zero(p, first, count, why);
	for (uint64_t i = 0; i < count; i++)
		if (pages_data(p, first + i, why))
			return -1;
	return 0;
}

int convert_pages(struct convert_pages *p, struct fail *why)
{
	uint32_t       region = 0;
	uint64_t       page = 0, count;
	enum page_kind kind;
	int            more;

	if (pages_begin(p, 0, why))
		return -1;
	for (; (more = snap_image_next(p->from, &region, &page, &count, &kind, why)) > 0;
	     page += count) {
		if (region != p->b->region &&
		    (pages_region_end(p, why) || pages_begin(p, region, why)))
			return -1;
		if (pages_run(p, page, count, kind, why))
			return -1;
	}
	return more < 0 ? -1 : pages_region_end(p, why);
}
