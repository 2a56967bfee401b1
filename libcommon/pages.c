/* SPDX-License-Identifier: MIT */
#include "libcommon/pages.h"

#include <assert.h>
#include <string.h>

bool page_is_zero(const uint8_t *page, size_t len)
{
	static const uint8_t zero[16];

	return memcmp(page, zero, sizeof(zero)) == 0 &&
	       memcmp(page, page + sizeof(zero), len - sizeof(zero)) == 0;
}

void page_batch_begin(struct page_batch *b, uint32_t region)
{
	b->region  = region;
	b->nruns   = 0;
	b->ndata   = 0;
	b->nhashed = 0;
	b->pages   = b->data;
}

bool page_batch_full(const struct page_batch *b)
{
	return b->ndata == BATCH_PAGES || b->nruns == BATCH_RUNS;
}

uint8_t *page_batch_slot(struct page_batch *b)
{
	assert(b->ndata < BATCH_PAGES);
	return b->data + (size_t)b->ndata * PAGE_SIZE_4K;
}

static void page_batch_add(struct page_batch *b, uint64_t page, enum page_kind kind)
{
	if (b->nruns) {
		struct page_run *r = &b->runs[b->nruns - 1];

		if (r->kind == (uint32_t)kind && r->first + r->count == page &&
		    r->count < UINT32_MAX) {
			r->count++;
			return;
		}
	}
	assert(b->nruns < BATCH_RUNS);
	b->runs[b->nruns++] =
		(struct page_run){ .first = page, .count = 1, .kind = (uint32_t)kind };
}

void page_batch_add_slot(struct page_batch *b, uint64_t page)
{
	if (page_is_zero(page_batch_slot(b), PAGE_SIZE_4K))
		page_batch_add_zero(b, page);
	else
		page_batch_add_data(b, page);
}

void page_batch_add_data(struct page_batch *b, uint64_t page)
{
	page_batch_add(b, page, PAGE_DATA);
	b->ndata++;
}

void page_batch_add_zero(struct page_batch *b, uint64_t page)
{
	page_batch_add(b, page, PAGE_ZERO);
}

uint64_t page_batch_pages(const struct page_batch *b)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < b->nruns; i++)
		n += b->runs[i].count;
	return n;
}
