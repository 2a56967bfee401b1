/* SPDX-License-Identifier: MIT */
#include "format/snapshot/adapt.h"

#include <stdbool.h>

/* From one to the next compression takes about twice the time. */
const int adapt_levels[ADAPT_LEVELS] = { 0, -5, -1, 1, 3, 6, 9, 12, 15, 19 };

#define ADAPT_RAW       0u
#define ADAPT_FASTEST   1u                  /* that compresses at all: where it begins */
#define ADAPT_ENTROPY   3u                  /* level 1, the fastest that codes literals too */
/* A window ends after so many batches, or after so long; with fewer batches than threads it would
 * show some of them waiting for a first one, and none for the others. */
#define ADAPT_BATCHES   8u
#define ADAPT_LEAST     2u
#define ADAPT_NS        100000000u
#define ADAPT_HOLD      2u                  /* windows; up to ADAPT_HOLD_MOST, doubled each time */
#define ADAPT_HOLD_MOST 64u
#define ADAPT_LASTS     8u                  /* windows after which a step up was right */
#define ADAPT_SINK_AGE  64u                 /* windows after which the sink's rate is forgotten */

void adapt_open(struct adapt *a, unsigned threads)
{
	*a = (struct adapt){ .threads = threads, .step = ADAPT_FASTEST, .backoff = ADAPT_HOLD,
			     .lasted = ADAPT_LASTS };
}

int adapt_level(const struct adapt *a)
{
	return adapt_levels[a->step];
}

/* Is part at least num/den of whole? Times of a window are far from 2^60. */
static bool adapt_part(uint64_t part, unsigned num, unsigned den, uint64_t whole)
{
	return part * den >= whole * num;
}

static bool adapt_full(const struct adapt *a)
{
	unsigned least = a->threads > ADAPT_LEAST ? a->threads : ADAPT_LEAST;
	unsigned most  = a->threads > ADAPT_BATCHES ? a->threads : ADAPT_BATCHES;

	return a->batches >= most ||
	       (a->batches >= least && a->sum.elapsed_ns >= ADAPT_NS);
}

/* Would raw pages keep the sink busier than the window lasted? Judged by the rate that it had when
 * it was the bottleneck: what a pipe or socket takes while it is not full says nothing. */
static bool adapt_raw_slower(const struct adapt *a)
{
	return a->sink_ns && (double)a->sum.raw * (double)a->sink_ns >
				     (double)a->sum.elapsed_ns * (double)a->sink_bytes;
}

/* Steps to go down because compression is the bottleneck: each halves its time, so as many as take
 * away the waiting. A guest that dirties memory meanwhile cannot wait for one step a window. */
static unsigned adapt_starved(const struct adapt_batch *w)
{
	if (!adapt_part(w->wait_ns, 1, 8, w->elapsed_ns))
		return 0;
	return adapt_part(w->wait_ns, 7, 8, w->elapsed_ns) ? 3 :
	       adapt_part(w->wait_ns, 3, 4, w->elapsed_ns) ? 2 : 1;
}

/* The step for what the window shows. */
static unsigned adapt_judge(const struct adapt *a)
{
	const struct adapt_batch *w    = &a->sum;
	unsigned                  down = adapt_starved(w);

	/* Less than a sixteenth is saved: raw, unless the sink is slow. Beside that, level 1 costs
	 * little, and finds out at once when data compress again. */
	if (a->step != ADAPT_RAW && adapt_part(w->stored, 15, 16, w->raw)) {
		if (!adapt_part(w->sink_ns, 3, 4, w->elapsed_ns))
			return ADAPT_RAW;
		if (a->step >= ADAPT_ENTROPY && !down)
			return a->step > ADAPT_ENTROPY ? a->step - 1 : ADAPT_ENTROPY;
	}
	if (a->step == ADAPT_FASTEST && down)
		return adapt_raw_slower(a) ? ADAPT_FASTEST : ADAPT_RAW;
	/* The sink would take more than it gets. It may get raw pages only if compression is too
	 * slow for it: what it gets at the fastest level may just fit into its buffer. */
	if (!down && !adapt_part(w->sink_ns, 1, 8, w->elapsed_ns))
		down = 1;
	if (a->step > ADAPT_FASTEST && down)
		return a->step - ADAPT_FASTEST > down ? a->step - down : ADAPT_FASTEST;
	/* Up only if the threads are idle enough for twice the work, with a margin. */
	if (a->step + 1 < ADAPT_LEVELS && a->hold == 0 && !down &&
	    adapt_part(w->sink_ns, 1, 2, w->elapsed_ns) &&
	    !adapt_part(w->pack_ns, 1, 3, w->elapsed_ns * a->threads))
		return a->step + 1;
	return a->step;
}

static void adapt_step(struct adapt *a, unsigned step)
{
	if (a->hold)
		a->hold--;
	if (a->lasted < ADAPT_LASTS && ++a->lasted == ADAPT_LASTS)
		a->backoff = ADAPT_HOLD;
	if (step > a->step)
		a->lasted = 0;
	if (step < a->step) {
		if (a->lasted < ADAPT_LASTS && a->backoff < ADAPT_HOLD_MOST)
			a->backoff *= 2;
		a->hold   = a->backoff;
		a->lasted = ADAPT_LASTS;
	}
	a->step = step;
}

static void adapt_sink(struct adapt *a)
{
	/* It has taken a quarter more: it is no longer what it was. */
	if (a->sink_ns && (double)a->sum.stored * (double)a->sink_ns >
				  1.25 * (double)a->sum.elapsed_ns * (double)a->sink_bytes)
		a->sink_ns = 0;
	if (adapt_part(a->sum.sink_ns, 3, 4, a->sum.elapsed_ns)) {
		a->sink_bytes = a->sum.stored;
		a->sink_ns    = a->sum.elapsed_ns;
		a->sink_age   = 0;
	} else if (++a->sink_age >= ADAPT_SINK_AGE) {
		a->sink_ns = 0;
	}
}

void adapt_batch(struct adapt *a, const struct adapt_batch *b)
{
	struct adapt_batch *w = &a->sum;

	if (b->level != adapt_level(a))
		return;
	w->elapsed_ns += b->elapsed_ns;
	w->sink_ns += b->sink_ns;
	w->wait_ns += b->wait_ns;
	w->pack_ns += b->pack_ns;
	w->raw += b->raw;
	w->stored += b->stored;
	a->batches++;
	if (!adapt_full(a))
		return;
	/* Batches of zero pages alone say nothing about compression. */
	if (w->raw) {
		adapt_sink(a);
		adapt_step(a, adapt_judge(a));
	}
	*w         = (struct adapt_batch){ 0 };
	a->batches = 0;
}
