/* SPDX-License-Identifier: MIT */
/* Guest memory: one door, whose end marks; a mark before the write loses a page, a mark after it
 * does not. */
#include "tests/unit/tap.h"

#include "vmrun/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct machine_region ram = { .kind = REGION_RAM, .name = "ram", .gpa = 0x80000000,
					   .size = 64 * GUEST_PAGE,
					   .page_size = GUEST_PAGE };
static const struct machine_region rom = { .id = 1, .kind = REGION_ROM, .name = "rom",
					   .gpa = 0x1000, .size = GUEST_PAGE,
					   .page_size = GUEST_PAGE };

/* A reader of the dirty log beside a writer of page 0, as a lease beside a device: it takes the
 * mark, then reads the page. Returns false when the last value was never seen, that is, when a
 * page was lost. */
#define RACE_WRITES 200000

struct race {
	struct memory *m;
	bool           mark_first;
	_Atomic bool   done;
};

static void *race_writer(void *arg)
{
	struct race    *r = arg;
	struct region  *g = &r->m->regions[0];
	_Atomic uint64_t *at = (_Atomic uint64_t *)(void *)g->host;

	for (uint64_t i = 1; i <= RACE_WRITES; i++) {
		if (r->mark_first)
			region_mark(g, 0, 1);
		atomic_store_explicit(at, i, memory_order_relaxed);
		if (!r->mark_first)
			region_mark(g, 0, 1);
	}
	atomic_store(&r->done, true);
	return NULL;
}

/* How often the reader's copy was behind memory although no mark was left, at a moment when
 * the writer was stopped. */
static bool race_loses(struct memory *m, bool mark_first)
{
	struct race       r = { .m = m, .mark_first = mark_first };
	struct region    *g = &m->regions[0];
	_Atomic uint64_t *at = (_Atomic uint64_t *)(void *)g->host;
	uint64_t          copy = 0, taken = 0;
	pthread_t         t;

	if (pthread_create(&t, NULL, race_writer, &r))
		abort();
	for (bool done = false; !done;) {
		/* before the sync: the last round comes after the last write */
		done  = atomic_load(&r.done);
		taken = 0;
		bitmap_take(&taken, g->dirty, 1);
		if (taken)
			copy = atomic_load_explicit(at, memory_order_relaxed);
	}
	pthread_join(t, NULL);
	return copy != RACE_WRITES;
}

/* The order that loses, step by step: mark, sync and copy, write. */
static bool mark_first_loses(struct memory *m)
{
	struct region *g    = &m->regions[0];
	uint64_t       took = 0, again = 0;
	uint8_t        copy;

	g->host[0] = 1;
	region_mark(g, 0, 1);
	bitmap_take(&took, g->dirty, 1);
	copy       = g->host[0];
	g->host[0] = 2;     /* the write that the mark announced */
	bitmap_take(&again, g->dirty, 1);
	return took == 1 && again == 0 && copy != g->host[0];
}

static void code(struct memory *m)
{
	struct region *g  = &m->regions[0];
	uint32_t       g3 = atomic_load(&g->code_gen[3]), g4 = atomic_load(&g->code_gen[4]);

	atomic_store(&g->code[0], (uint64_t)1 << 3);
	region_mark(g, 2, 1);
	ok(atomic_load(&g->code_gen[3]) == g3, "a write beside code leaves its generation");
	region_mark(g, 2, 3);
	ok(atomic_load(&g->code_gen[3]) == g3 + 1 && atomic_load(&g->code_gen[4]) == g4 &&
	   atomic_load(&g->code[0]) == 0,
	   "a write over code counts its generation up and takes its bit");
	region_mark(g, 3, 1);
	ok(atomic_load(&g->code_gen[3]) == g3 + 1,
	   "a second write without decoding between does not count");
}

static void present(void)
{
	struct memory  m;
	struct machine cfg = { .nregions = 1, .regions = { ram } };
	struct fail    why;
	uint64_t       first, end;
	bool           good = memory_open(&m, &cfg, &why) == 0 &&
			      region_present(&m.regions[0], 0, &first, &end, &why) == 0;

	ok(good, "a new region has no page present");
	m.regions[0].host[5 * GUEST_PAGE] = 1;
	(void)!pwrite(m.regions[0].fd, "x", 1, 63 * GUEST_PAGE);
	good = region_present(&m.regions[0], 0, &first, &end, &why) == 1 && first == 5 && end == 6;
	good = good && region_present(&m.regions[0], 6, &first, &end, &why) == 1 && first == 63 &&
	       end == 64;
	ok(good && region_present(&m.regions[0], 64, &first, &end, &why) == 0,
	   "pages touched or written are present, no others");
	memory_close(&m);
}

int main(void)
{
	struct memory      m;
	struct machine     cfg = { .nregions = 2, .regions = { ram, rom } };
	struct fail        why = { 0 };
	struct guest_write w;
	uint8_t            buf[8] = "abcdefg";
	uint64_t           end = ram.gpa + ram.size;

	ok(memory_open(&m, &cfg, &why) == 0, "two regions open");
	ok(guest_read(&m, ram.gpa, ram.size) && !guest_read(&m, ram.gpa, ram.size + 1) &&
	   !guest_read(&m, ram.gpa - 1, 2) &&
	   !guest_read(&m, end, 1) && guest_read(&m, end - 1, 1) && !guest_read(&m, end - 1, 2),
	   "a range is memory only when all of it is");
	ok(!guest_read(&m, end - 1, UINT64_MAX) && !guest_read(&m, UINT64_MAX, 2) &&
	   !guest_read(&m, ram.gpa, UINT64_MAX) &&
	   !guest_read(&m, ram.gpa, 0), "lengths that wrap around are no memory");
	ok(!guest_write_begin(&m, &w, rom.gpa, 8) && guest_read(&m, rom.gpa, 8),
	   "ROM is read and not written");
	ok(guest_copy_in(&m, ram.gpa + GUEST_PAGE - 4, buf, 8) == 0 &&
	   !memcmp(m.regions[0].host + GUEST_PAGE - 4, buf, 8), "bytes arrive");
	ok(atomic_load(&m.regions[0].dirty[0]) == 3,
	   "both pages of a write across their border are marked");
	ok(guest_copy_in(&m, end - 4, buf, 8) == -1 && atomic_load(&m.regions[0].dirty[0]) == 3,
	   "a write beyond the end writes and marks nothing");
	memset(buf, 0, sizeof(buf));
	ok(guest_copy_out(&m, buf, ram.gpa + GUEST_PAGE - 4, 8) == 0 && !memcmp(buf, "abcdefg", 8),
	   "and can be copied out");
	ok(guest_copy_out(&m, buf, end, 1) == -1 && guest_copy_out(&m, buf, end, 0) == 0,
	   "nothing is copied from beyond");
	atomic_store(&m.regions[0].dirty[0], 0);
	ok(guest_write_begin(&m, &w, ram.gpa + 7 * GUEST_PAGE, 1) &&
	   atomic_load(&m.regions[0].dirty[0]) == 0, "begin marks nothing");
	guest_write_end(&w);
	ok(atomic_load(&m.regions[0].dirty[0]) == 1 << 7, "end marks");
	code(&m);
	atomic_store(&m.regions[0].dirty[0], 0);
	ok(mark_first_loses(&m), "the wrong order, mark then write, loses a page");
	atomic_store(&m.regions[0].dirty[0], 0);
	ok(!race_loses(&m, false), "write then mark loses none in 200000 races");
	ok(ftruncate(m.regions[0].fd, 0) == -1,
	   "the descriptor can't be shrunk under those who map it");
	memory_close(&m);
	present();
	cfg.regions[0].size = LIMIT_REGION_BYTES + GUEST_PAGE;
	ok(memory_open(&m, &cfg, &why) == -1 && why.kind == FAIL_LIMIT && m.nregions == 0,
	   "a region beyond the limit is refused");
	return done_testing();
}
