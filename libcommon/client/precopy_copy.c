/* SPDX-License-Identifier: MIT */
#include "libcommon/client/precopy_internal.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/io.h"

#include <string.h>

/* From pending pages to batches, and on to the sink or the pause buffer. */

#define PRECOPY_PIECE     64u          /* pages read at once: they stay in the second-level cache */
/* What is cleared by one exchange with vmrun, of 10 % of the time if it were done for each batch. A
 * page that is written between clear and copy is copied once more. */
#define PRECOPY_WINDOW    4096u        /* pages: 16 MiB */
#define PRECOPY_RENEWALS  4u           /* per deadline of a pause that is renewed */

int precopy_renew(struct precopy *p, struct fail *why)
{
	uint64_t now = io_now_ns();

	if (lease_renew(p->l, p->o.pause_deadline_ms, why))
		return -1;
	p->renewed_ns = now;
	return 0;
}

/* Between two batches: a holder that still writes renews the deadline, one that hangs in a write
 * does not. */
int precopy_tick(struct precopy *p, struct fail *why)
{
	uint64_t every_ns = (uint64_t)p->o.pause_deadline_ms * 1000000u / PRECOPY_RENEWALS;

	if (p->paused && p->o.pause_renew && io_now_ns() - p->renewed_ns >= every_ns &&
	    precopy_renew(p, why))
		return -1;
	return p->sink.tick ? p->sink.tick(p->sink.arg, why) : 0;
}

static void precopy_hash(struct precopy *p, struct page_batch *b)
{
	uint64_t begin = io_now_ns();

	page_batch_hash(b);
	p->report.hash_ns += io_now_ns() - begin;
}

int precopy_sink_pages(struct precopy *p, struct page_batch *b, struct fail *why)
{
	uint64_t begin;

	precopy_hash(p, b);      /* of a batch of the pause buffer */
	begin = io_now_ns();
	if (p->sink.pages(p->sink.arg, b, why))
		return -1;
	p->now.sink_ns += io_now_ns() - begin;
	return 0;
}

/* The batch to be filled next: of the pause buffer while there is one. */
static struct page_batch *precopy_batch(struct precopy *p, struct fail *why)
{
	if (p->paused && p->paused_batches < p->pause_buffer_max)
		return &p->pause_buffer[p->paused_batches];
	p->batch = p->own ? p->own : p->sink.batch(p->sink.arg, why);
	return p->batch;
}

/* The batch is full or its region ends: passes it on, and sets *b to an empty one. */
static int precopy_hand_on(struct precopy *p, struct page_batch **b, uint32_t region,
			   struct fail *why)
{
	if ((*b)->nruns == 0)
		return 0;
	if (*b == p->batch) {
		if (precopy_sink_pages(p, p->batch, why))
			return -1;
	} else {
		p->paused_batches++;
	}
	*b = precopy_batch(p, why);
	if (!*b)
		return -1;
	page_batch_begin(*b, region);
	return 0;
}

/* A page could not be read. Of memory that is a file vmrun knows more than EIO. */
static int precopy_read_failed(struct precopy *p, const struct lease_ram *ram, uint64_t first,
			       uint64_t count, struct fail *why)
{
	struct fail reason;

	if (ram->r.backing && lease_fill(p->l, ram->r.id, first, count, &reason))
		*why = reason;
	return -1;
}

/* Reads `count` pages from `first` into the batch, which has capacity for them as data pages and as
 * runs. They are few enough to be still in the cache when they are tested, moved and hashed. */
static int precopy_read(struct precopy *p, struct page_batch *b, const struct lease_ram *ram,
			uint64_t first, uint64_t count, uint64_t *zeros, struct fail *why)
{
	const uint8_t *from = page_batch_slot(b);
	uint64_t       at = first * PAGE_SIZE_4K + lease_ram_base(ram);

	if (io_pread(ram->fd, page_batch_slot(b), (size_t)count * PAGE_SIZE_4K, at, ram->r.name,
		     why))
		return precopy_read_failed(p, ram, first, count, why);
	for (uint64_t i = 0; i < count; i++, from += PAGE_SIZE_4K) {
		if (page_is_zero(from, PAGE_SIZE_4K)) {
			page_batch_add_zero(b, first + i);
			(*zeros)++;
			continue;
		}
		if (from != page_batch_slot(b))
			memcpy(page_batch_slot(b), from, PAGE_SIZE_4K);
		page_batch_add_data(b, first + i);
	}
	return 0;
}

/* The next run of pending at or after `from`. */
static bool precopy_next_run(const struct precopy *p, uint32_t i, uint64_t from,
			     struct lease_range *r)
{
	uint64_t first, end;

	for (; populated_next(p->blocks[i], p->l->rams[i].npages, from, &first, &end); from = end)
		if (bitmap_next_run(p->pending[i], end, first, &r->first, &r->count))
			return true;
	return false;
}

/* The next runs of pending at or after *from, of at most PRECOPY_WINDOW pages; *from moves past
 * them. */
static size_t precopy_plan(const struct precopy *p, uint32_t i, uint64_t *from,
			   struct lease_range plan[PRECOPY_PLAN])
{
	uint64_t left = PRECOPY_WINDOW;
	size_t   n = 0;

	while (left && n < PRECOPY_PLAN && precopy_next_run(p, i, *from, &plan[n])) {
		if (plan[n].count > left)
			plan[n].count = left;
		left -= plan[n].count;
		*from = plan[n].first + plan[n].count;
		n++;
	}
	return n;
}

/* How many more pages may be read into the batch at once. */
static uint64_t precopy_free(const struct precopy *p, const struct page_batch *b)
{
	/* A batch of the pause buffer is filled: it holds what it can. */
	uint32_t most = b == p->batch ? p->o.batch_pages : BATCH_PAGES;
	uint64_t data = b->ndata < most ? most - b->ndata : 0;
	uint64_t runs = BATCH_RUNS - b->nruns;      /* at worst each page is a run of its own */
	uint64_t free = data < runs ? data : runs;

	return free < PRECOPY_PIECE ? free : PRECOPY_PIECE;
}

/* The batch is as full as it is worth to make it. */
static bool precopy_full(const struct precopy *p, const struct page_batch *b)
{
	uint32_t most = b == p->batch ? p->o.batch_pages : BATCH_PAGES;
	uint32_t rest = most / 8 < PRECOPY_FREE_MIN ? most / 8 : PRECOPY_FREE_MIN;

	return b->ndata >= most - rest || b->nruns > BATCH_RUNS - PRECOPY_FREE_MIN;
}

/* Copies one range, and hands batches on as they fill. */
static int precopy_copy_range(struct precopy *p, uint32_t i, struct page_batch **b,
			      struct lease_range r, uint64_t *zeros, struct fail *why)
{
	const struct lease_ram *ram = &p->l->rams[i];

	while (r.count) {
		uint64_t begin = io_now_ns(), n = precopy_free(p, *b);

		n = n < r.count ? n : r.count;
		if (precopy_read(p, *b, ram, r.first, n, zeros, why))
			return -1;
		p->report.read_ns += io_now_ns() - begin;
		/* Those of the pause buffer are hashed after the pause. */
		if (*b == p->batch)
			precopy_hash(p, *b);
		bitmap_clear_range(p->pending[i], r.first, n);
		r.first += n;
		r.count -= n;
		p->now.copy_ns += io_now_ns() - begin;
		p->now.pages   += n;
		p->round_done  += n;
		if (precopy_full(p, *b) &&
		    (precopy_hand_on(p, b, ram->r.id, why) || precopy_tick(p, why)))
			return -1;
	}
	return 0;
}

/* Copies all that is pending, counting into *pages and *zeros. While the guest runs a range is
 * cleared before it is read, so that a later write is logged; while it is paused nobody can write,
 * and no clear is needed. */
int precopy_copy(struct precopy *p, uint64_t *pages, uint64_t *zeros, struct fail *why)
{
	struct page_batch *b = precopy_batch(p, why);

	if (!b)
		return -1;
	for (uint32_t i = 0; i < p->l->nrams; i++) {
		const struct lease_ram *ram = &p->l->rams[i];
		uint64_t                from = 0, begin = p->round_done;
		size_t                  n;

		page_batch_begin(b, ram->r.id);
		while ((n = precopy_plan(p, i, &from, p->plan)) > 0) {
			uint64_t clear = io_now_ns();

			if (!p->paused && lease_clear_ranges(p->l, ram->r.id, p->plan, n, why))
				return -1;
			p->now.copy_ns += io_now_ns() - clear;
			for (size_t k = 0; k < n; k++)
				if (precopy_copy_range(p, i, &b, p->plan[k], zeros, why))
					return -1;
			if (precopy_tick(p, why))
				return -1;
			if (!p->paused && p->o.progress && p->o.progress->copied)
				p->o.progress->copied(p->o.progress_arg, p->report.nrounds,
						      p->round_done, p->round_of);
		}
		*pages += p->round_done - begin;
		if (precopy_hand_on(p, &b, ram->r.id, why))
			return -1;
	}
	return 0;
}
