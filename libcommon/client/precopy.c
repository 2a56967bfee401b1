/* SPDX-License-Identifier: MIT */
#include "libcommon/client/precopy_internal.h"

#include "libcommon/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* How this works.
 *
 * pending[] is what still has to be sent. Each sync moves the shared round bitmap into it by atomic
 * exchange, so that a bit is at any time in exactly one place: in vmrun's map (written since we
 * took it) or in pending (taken, not yet sent). A bit leaves pending after its page has been
 * copied; a page written during or after that copy is marked again by its writer.
 *
 * Pages are read with pread into a batch, straight into its slots, in pieces that stay in the
 * cache; zero pages are detected in the copy, the pages after them close the gap, and what is left
 * is hashed. Guest memory itself is never examined: the guest could change it between a check and
 * the use.
 *
 * During the pause the copy goes into pause_buffer, a mapping of batches that is populated before
 * the pause is asked for: first touches of fresh memory cost more than the copy. Populating takes
 * time in which the guest runs on, so the dirty pages are synced and the forecast is made again
 * after it.
 *
 * The disks are flushed and sampled just before the pause, which then has only to flush what was
 * written since. Flushes are repeated while each takes at most half the time of the one before; the
 * time of the last one counts as part of the pause, as does the time that vmrun has measured for
 * pausing and saving state. The guest runs on during a flush, so a sync follows it.
 *
 * A rest that fits max_downtime still gets another round while each round at least halves it and it
 * is worth the sync: the pause gets shorter, and all these rounds together send less than the first
 * of them would have left. */

#define PRECOPY_SAMPLE    256u         /* a round of fewer pages is too short to measure a rate */
#define PRECOPY_SMALL     64u          /* copied faster than a pause is asked for and answered */
#define PRECOPY_FIXED_NS  1000000u     /* resume and requests, which vmrun does not measure */
#define PRECOPY_FLUSHES   8u           /* in a row, at most */

int precopy_open(struct precopy **out, struct lease *l, const struct precopy_options *o,
		 const struct precopy_sink *sink, struct fail *why)
{
	struct precopy *p = calloc(1, sizeof(*p));

	if (!p)
		return fail_sys(why, "pre-copy");
	p->l    = l;
	p->o    = *o;
	p->sink = *sink;
	if (p->o.batch_pages == 0 || p->o.batch_pages > BATCH_PAGES)
		p->o.batch_pages = BATCH_PAGES;
	p->by_sink = o->pause_by_sink || o->pause_buffer == 0;
	for (uint32_t i = 0; i < l->nrams; i++) {
		if (l->rams[i].r.page_size != PAGE_SIZE_4K) {
			fail_set(why, FAIL_LIMIT, "region %s: unsupported page size: %u bytes",
				 l->rams[i].r.name, l->rams[i].r.page_size);
			goto fail;
		}
		p->report.ram_pages += l->rams[i].npages;
		p->npages[i]  = l->rams[i].npages;
		p->pending[i] = bitmap_open(p->npages[i]);
		p->blocks[i]  = calloc(populated_map_words(l->rams[i].npages), sizeof(uint64_t));
		if (!p->pending[i] || !p->blocks[i])
			goto memory;
	}
	if (!sink->batch) {
		p->own = aligned_alloc(4096, sizeof(*p->own));
		if (!p->own)
			goto memory;
	}
	if (!p->by_sink && l->nrams) {
		p->pause_buffer_max = (size_t)(o->pause_buffer / sizeof(*p->pause_buffer));
		if (p->pause_buffer_max < l->nrams)        /* a batch is of one region */
			p->pause_buffer_max = l->nrams;
		p->pause_buffer = mmap(NULL, p->pause_buffer_max * sizeof(*p->pause_buffer),
				       PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p->pause_buffer == MAP_FAILED) {
			p->pause_buffer = NULL;
			goto memory;
		}
	}
	*out = p;
	return 0;
memory:
	fail_sys(why, "pre-copy buffers");
fail:
	precopy_close(p);
	return -1;
}

void precopy_close(struct precopy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < PRECOPY_REGIONS; i++) {
		bitmap_close(p->pending[i], p->npages[i]);
		free(p->blocks[i]);
	}
	if (p->pause_buffer)
		munmap(p->pause_buffer, p->pause_buffer_max * sizeof(*p->pause_buffer));
	free(p->own);
	free(p);
}

const struct precopy_report *precopy_report(const struct precopy *p)
{
	return &p->report;
}

/* Moves what vmrun has marked into pending; returns how many pages are pending. */
static uint64_t precopy_take(struct precopy *p)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < p->l->nrams; i++) {
		struct lease_ram *ram = &p->l->rams[i];
		uint64_t         *pending = p->pending[i], first, end;

		/* A page is present before vmrun marks it, so the map of present blocks is
		 * refreshed first. */
		lease_ram_look(ram, p->blocks[i]);
		for (uint64_t at = 0; populated_next(p->blocks[i], ram->npages, at, &first, &end);
		     at = end) {
			size_t w = (size_t)(first / 64);

			bitmap_take(pending + w, ram->round + w, end - first);
			if (end % 64)      /* past the last page, whatever the bits say */
				pending[end / 64] &= ((uint64_t)1 << end % 64) - 1;
			n += bitmap_count(pending + w, end - first);
			p->report.map_words += bitmap_words(end - first);
		}
	}
	return n;
}

/* Ends the measurement of a round. */
static void precopy_measure(struct precopy *p)
{
	p->all.pages   += p->now.pages;
	p->all.copy_ns += p->now.copy_ns;
	p->all.sink_ns += p->now.sink_ns;
	if (p->now.pages >= PRECOPY_SAMPLE)
		p->last = p->now;
	p->now = (struct precopy_rate){ 0 };
}

/* Forecast of the downtime with `rest` pages left. */
static uint64_t precopy_forecast_ns(const struct precopy *p, uint64_t rest)
{
	const struct precopy_rate *r = p->last.pages ? &p->last : &p->all;
	uint64_t limit = p->o.max_downtime_ns / 8;
	uint64_t fixed = PRECOPY_FIXED_NS < limit ? PRECOPY_FIXED_NS : limit;
	double   page = 0;

	if (r->pages)
		page = (double)(r->copy_ns + (p->by_sink ? r->sink_ns : 0)) / (double)r->pages;
	/* Scattered pages into a buffer that no cache holds take twice as long as into the batch of
	 * the rounds (measured: 3.5 against 8 GB/s). */
	page *= p->by_sink ? 1.25 : 2;
	fixed += p->fixed_ns + p->flush_ns + p->sync_ns + (p->by_sink ? p->barrier_ns : 0);
	return (uint64_t)(page * (double)rest) + fixed;
}

/* Batches of the pause buffer that `rest` pages need at worst. */
static size_t precopy_need(const struct precopy *p, uint64_t rest)
{
	return (size_t)(rest / (BATCH_PAGES - PRECOPY_FREE_MIN)) + p->l->nrams;
}

static bool precopy_fits(const struct precopy *p, uint64_t rest)
{
	if (rest == 0 && p->o.max_downtime_ns == 0)     /* nothing to gain by another round */
		return true;
	if (!p->by_sink && precopy_need(p, rest) > p->pause_buffer_max)
		return false;
	return precopy_forecast_ns(p, rest) <= p->o.max_downtime_ns;
}

/* Is one more round than needed worth it, for a shorter pause? sent: pages of the round that left
 * this rest. */
static bool precopy_worth(uint64_t rest, uint64_t sent)
{
	return rest <= sent / 2 && rest > PRECOPY_SMALL;
}

static int precopy_sync(struct precopy *p, uint64_t *rest, struct fail *why)
{
	uint64_t begin = io_now_ns();

	if (lease_sync(p->l, NULL, NULL, why))
		return -1;
	*rest = precopy_take(p);
	p->sync_ns = io_now_ns() - begin;
	return 0;
}

/* Populates the batches of the pause buffer that `rest` pages will need; true when it had to. */
static bool precopy_populate(struct precopy *p, uint64_t rest)
{
	size_t need = precopy_need(p, rest + rest / 4);

	if (need > p->pause_buffer_max)
		need = p->pause_buffer_max;
	if (need <= p->pause_buffer_ready)
		return false;
	char  *at  = (char *)(p->pause_buffer + p->pause_buffer_ready);
	size_t len = (need - p->pause_buffer_ready) * sizeof(*p->pause_buffer);

#ifdef MADV_POPULATE_WRITE     /* Linux 5.14 */
	if (madvise(at, len, MADV_POPULATE_WRITE) != 0)
#endif
		for (size_t i = 0; i < len; i += 4096)
			*(volatile char *)(at + i) = 0;
	p->pause_buffer_ready = need;
	return true;
}

struct precopy_wait {
	struct precopy *p;
	uint64_t        spoke_ns;
};

static int precopy_wait_tick(void *arg, struct fail *why)
{
	struct precopy_wait *w = arg;
	struct precopy      *p = w->p;
	uint64_t             now = io_now_ns();

	if (precopy_tick(p, why))
		return -1;
	if (!p->o.silence_ns || now - w->spoke_ns < p->o.silence_ns)
		return 0;
	w->spoke_ns = now;
	return p->sink.round_end(p->sink.arg, p->report.nrounds ? p->report.nrounds - 1 : 0, why);
}

/* Disks: down to what is written in the time of one flush. */
static int precopy_flush_disks(struct precopy *p, struct fail *why)
{
	struct precopy_wait w = { .p = p, .spoke_ns = io_now_ns() };

	for (unsigned i = 0; i < PRECOPY_FLUSHES && !p->no_flush; i++) {
		uint64_t took = 0, fixed = 0;

		if (lease_flush(p->l, precopy_wait_tick, &w, &took, &fixed, why)) {
			if (why->kind != FAIL_VERSION)
				return -1;
			p->no_flush = true;
			break;
		}
		bool halved = i == 0 || took <= p->flush_ns / 2;

		p->flush_ns = took;
		p->fixed_ns = fixed;
		if (!halved || took <= p->o.max_downtime_ns / 8)
			break;
	}
	p->flushed = true;
	return 0;
}

/* Prepares what the pause needs besides the pages. *again: it took time, so that another sync is
 * needed. */
static int precopy_ready(struct precopy *p, uint64_t rest, bool *again, struct fail *why)
{
	*again = precopy_populate(p, rest) || !p->flushed;
	return p->flushed ? 0 : precopy_flush_disks(p, why);
}

/* One round: all that is pending, the sink's barrier, then what the guest has written in the
 * meantime. */
static int precopy_round(struct precopy *p, uint64_t *rest, struct precopy_round *r,
			 struct fail *why)
{
	uint64_t begin = io_now_ns(), barrier;

	*r = (struct precopy_round){ .number = p->report.nrounds };
	p->flushed    = false;
	p->round_done = 0;
	p->round_of   = *rest;
	if (precopy_copy(p, &r->pages, &r->zero_pages, why))
		return -1;
	barrier = io_now_ns();
	if (p->sink.round_end(p->sink.arg, r->number, why))
		return -1;
	p->barrier_ns = io_now_ns() - barrier;
	precopy_measure(p);
	if (precopy_sync(p, rest, why))
		return -1;
	r->dirty_after = *rest;
	r->ns          = io_now_ns() - begin;
	if (r->number < sizeof(p->report.rounds) / sizeof(p->report.rounds[0]))
		p->report.rounds[r->number] = *r;
	p->report.pages_total += r->pages;
	p->report.nrounds++;
	if (p->o.progress && p->o.progress->round)
		p->o.progress->round(p->o.progress_arg, r);
	return precopy_tick(p, why);
}

int precopy_rounds(struct precopy *p, struct fail *why)
{
	struct precopy_round r;
	uint64_t             rest;
	bool                 again;

	if (lease_log_start(p->l, why))
		return -1;
	for (uint32_t i = 0; i < p->l->nrams; i++)
		p->report.present_pages += p->l->rams[i].present;
	rest = precopy_take(p);
	while (p->report.nrounds < p->o.max_rounds) {
		if (precopy_round(p, &rest, &r, why))
			return -1;
		while (precopy_fits(p, rest)) {
			if (precopy_worth(rest, r.pages) && p->report.nrounds < p->o.max_rounds)
				break;
			if (precopy_ready(p, rest, &again, why))
				return -1;
			if (!again) {
				p->report.converged = true;
				return 0;
			}
			if (precopy_sync(p, &rest, why))
				return -1;
		}
	}
	return precopy_ready(p, rest, &again, why);
}

int precopy_pause(struct precopy *p, const struct uuid *epoch, uint8_t **state, size_t *len,
		  struct fail *why)
{
	uint64_t rest, zeros = 0;

	*state = NULL;
	p->report.pause_begin_ns = io_now_ns();
	if (lease_pause(p->l, p->o.pause_deadline_ms, epoch, why))
		return -1;
	p->paused     = true;
	p->renewed_ns = p->report.pause_begin_ns;
	/* Saving state and stopping backends can dirty memory: the last sync comes after. */
	if (lease_state(p->l, state, len, why))
		return -1;
	/* No RESUME or RELEASE follows: RENEW confirms that nothing ran during the copy. */
	if (precopy_sync(p, &rest, why) || precopy_copy(p, &p->report.pages_paused, &zeros, why) ||
	    (p->o.pause_renew && precopy_renew(p, why))) {
		free(*state);
		*state = NULL;
		return -1;
	}
	p->report.pages_total += p->report.pages_paused;
	return 0;
}

int precopy_drain(struct precopy *p, struct fail *why)
{
	for (size_t i = 0; i < p->paused_batches; i++)
		if (precopy_sink_pages(p, &p->pause_buffer[i], why) || precopy_tick(p, why))
			return -1;
	p->paused_batches = 0;
	return p->sink.round_end(p->sink.arg, p->report.nrounds, why);
}
