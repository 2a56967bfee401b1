/* SPDX-License-Identifier: MIT */
/* The level of --compress=auto, with sinks and data that are made up. Time is counted, not
 * measured. */
#include "format/snapshot/adapt.h"
#include "tests/unit/tap.h"

#include <string.h>

#define BATCH   ((uint64_t)2 << 20)      /* bytes */
#define READ_NS 800000u                  /* for a batch to be read and hashed */
#define FLOW    4u                       /* batches of an earlier level on the way */
#define THREADS 2u

struct sink {
	double rate;      /* bytes a nanosecond */
	double ratio;     /* raw to stored at level -5, a little more at each above; 1: random */
	bool   buffered;  /* a pipe: takes what fits while the writer does something else */
};

struct trace {
	unsigned steps, top, at_top;      /* changes; highest of adapt_levels; batches there */
	unsigned raw;                     /* batches at level 0 */
	uint64_t ns;                      /* in all */
};

static unsigned step_of(int level)
{
	unsigned i = 0;

	while (adapt_levels[i] != level)
		i++;
	return i;
}

/* What a batch costs at a level: of a thread. */
static uint64_t pack_ns(unsigned step)
{
	return step ? (uint64_t)2000000 << (step - 1) : 0;
}

static uint64_t sink_ns(struct sink s, uint64_t stored, uint64_t pack)
{
	uint64_t ns   = (uint64_t)((double)stored / s.rate), copy = stored / 10;
	uint64_t busy = pack / THREADS > READ_NS ? pack / THREADS : READ_NS;

	if (!s.buffered)
		return ns;
	return ns > busy + copy ? ns - busy : copy;
}

/* n batches through a pipeline of a reader that also writes, and THREADS that compress: the longer
 * of the two is what a batch takes. levels: on the way, kept from call to call. */
static struct trace run(struct adapt *a, int flow[FLOW], struct sink s, unsigned n)
{
	struct trace t = { 0 };

	for (unsigned i = 0; i < n; i++) {
		int                before = adapt_level(a);
		unsigned           step   = step_of(flow[i % FLOW]);
		double             ratio  = s.ratio > 1 && step ? s.ratio + 0.1 * step : 1;
		struct adapt_batch b      = { .level = flow[i % FLOW], .raw = BATCH };
		uint64_t           own;

		b.stored     = (uint64_t)((double)BATCH / ratio);
		b.pack_ns    = pack_ns(step);
		b.sink_ns    = sink_ns(s, b.stored, b.pack_ns);
		own          = READ_NS + b.sink_ns;
		b.wait_ns    = b.pack_ns / THREADS > own ? b.pack_ns / THREADS - own : 0;
		b.elapsed_ns = own + b.wait_ns;
		t.ns += b.elapsed_ns;
		t.raw += step == 0;
		if (step > t.top)
			t.at_top = 0;
		t.top = step > t.top ? step : t.top;
		t.at_top += step == t.top;
		flow[i % FLOW] = before;
		adapt_batch(a, &b);
		t.steps += adapt_level(a) != before;
	}
	return t;
}

static void start(struct adapt *a, int flow[FLOW])
{
	adapt_open(a, THREADS);
	for (unsigned i = 0; i < FLOW; i++)
		flow[i] = adapt_level(a);
}

static const struct sink creep = { 0.0001, 3, false };      /* 100 KB/s */
static const struct sink slow  = { 0.05, 3, false };        /* 50 MB/s */
static const struct sink fast  = { 10, 3, false };          /* 10 GB/s */

static void test_steady(void)
{
	struct adapt a;
	int          flow[FLOW];
	struct trace t;

	start(&a, flow);
	ok(adapt_level(&a) == -5, "it begins at the fastest level");
	t = run(&a, flow, creep, 200);
	ok(adapt_level(&a) == 19 && t.steps == ADAPT_LEVELS - 2 && t.at_top > 100,
	   "a very slow sink: step by step to the strongest level, and it stays");

	start(&a, flow);
	t = run(&a, flow, fast, 200);
	ok(adapt_level(&a) == 0 && t.steps == 1 && t.raw > 150,
	   "a fast sink: raw, and it stays");

	/* 14 ms for a batch that is a third. Level 1 takes 4 ms of each thread, level 3 8 ms. */
	start(&a, flow);
	run(&a, flow, slow, 200);
	t = run(&a, flow, slow, 1000);
	note("slow sink: level %d, %u changes", adapt_level(&a), t.steps);
	ok(adapt_level(&a) >= 1 && adapt_level(&a) <= 6 && t.steps == 0,
	   "a slow sink: as strong as the threads have time for, without a change");
}

static void test_data(void)
{
	struct adapt a;
	int          flow[FLOW];
	struct trace t;

	start(&a, flow);
	t = run(&a, flow, (struct sink){ 2, 1, false }, 2000);
	note("random, 2 GB/s: %u of 2000 batches raw, %u changes", t.raw, t.steps);
	ok(t.raw > 1900, "data that do not compress, a fast sink: raw");

	start(&a, flow);
	t = run(&a, flow, (struct sink){ 1, 1, false }, 4000);
	note("random, 1 GB/s: %u of 4000 batches raw, %u changes", t.raw, t.steps);
	ok(t.raw > 3600 && t.steps >= 6,
	   "and one that takes two thirds of the time: raw, with a trial now and then");
	t = run(&a, flow, (struct sink){ 1, 20, false }, 1000);
	ok(t.raw < 1000 && t.top > 0, "which finds that they compress again");

	start(&a, flow);
	run(&a, flow, creep, 200);
	t = run(&a, flow, (struct sink){ 0.0001, 1, false }, 200);
	ok(adapt_level(&a) == 1 && t.raw == 0 && t.steps == ADAPT_LEVELS - 4,
	   "data that do not compress, a slow sink: down to level 1, not to raw");
	run(&a, flow, creep, 200);
	ok(adapt_level(&a) == 19, "and up again with data that do");

	start(&a, flow);
	t = run(&a, flow, (struct sink){ 0.0001, 1, false }, 200);
	ok(adapt_level(&a) == 1 && t.steps == 2,
	   "data that never compressed: level 1 is tried, which does more than negative ones");
}

/* Compressed batches fit into the sink's buffer, so that it looks fast, and the threads are what
 * the save waits for. Raw ones take 4.2 ms, at level -5 it is 1 ms. */
static void test_buffered(void)
{
	struct adapt a;
	int          flow[FLOW];
	struct trace t;
	uint64_t     raw_ns = 4000 * (uint64_t)((double)BATCH / 0.5);

	start(&a, flow);
	t = run(&a, flow, (struct sink){ 0.5, 8, true }, 4000);
	note("%u of 4000 batches raw, %u changes, %.0f %% of the time that raw takes", t.raw,
	     t.steps, 100 * (double)t.ns / (double)raw_ns);
	ok(t.ns < raw_ns / 10 * 7 && t.steps < 40,
	   "a buffer that hides how slow the sink is: still not raw");
}

static void test_change(void)
{
	struct adapt a;
	int          flow[FLOW];
	struct trace t;
	unsigned     steps = 0;
	bool         right = true;

	start(&a, flow);
	run(&a, flow, creep, 200);
	t = run(&a, flow, fast, 60);
	note("from 19 to raw in %u changes", t.steps);
	ok(adapt_level(&a) == 0 && t.steps <= 5, "a sink that becomes fast: raw within 60 batches");

	start(&a, flow);
	for (int i = 0; i < 10; i++) {
		t = run(&a, flow, creep, 600);
		right = right && adapt_level(&a) == 19;
		steps += t.steps;
		t = run(&a, flow, fast, 600);
		right = right && adapt_level(&a) == 0;
		steps += t.steps;
	}
	note("%u changes in 20 phases", steps);
	ok(right && steps <= 20 * ADAPT_LEVELS,
	   "a sink that alternates: each phase ends at its level, without a change too many");

	/* Faster than a window: the mean counts, and changes become rare. */
	start(&a, flow);
	for (int i = 0; i < 1000; i++) {
		run(&a, flow, slow, 1);
		run(&a, flow, fast, 1);
	}
	steps = 0;
	for (int i = 0; i < 1000; i++) {
		steps += run(&a, flow, slow, 1).steps;
		steps += run(&a, flow, fast, 1).steps;
	}
	note("%u changes in 2000 batches", steps);
	ok(steps <= 20, "one that alternates from batch to batch does not make it oscillate");
}

static void test_ignored(void)
{
	struct adapt             a;
	struct adapt_batch       b = { .level = 3, .elapsed_ns = 1000000000, .sink_ns = 900000000,
				       .raw = BATCH, .stored = BATCH / 4 };
	const struct adapt_batch z = { .level = -5, .elapsed_ns = 1000000000 };

	adapt_open(&a, THREADS);
	for (int i = 0; i < 100; i++)
		adapt_batch(&a, &b);
	ok(adapt_level(&a) == -5, "batches of a level that is no longer used are ignored");
	for (int i = 0; i < 100; i++)
		adapt_batch(&a, &z);
	ok(adapt_level(&a) == -5, "and so are windows without data");
	b.level = -5;
	adapt_batch(&a, &b);
	adapt_batch(&a, &b);
	ok(adapt_level(&a) == -1, "a window that lasts long needs only a few batches");
	adapt_open(&a, 16);
	for (int i = 0; i < 15; i++)
		adapt_batch(&a, &b);
	ok(adapt_level(&a) == -5, "but at least one a thread");
	adapt_batch(&a, &b);
	ok(adapt_level(&a) == -1, "and no more than that");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_steady();
	test_data();
	test_buffered();
	test_change();
	test_ignored();
	return done_testing();
}
