/* SPDX-License-Identifier: MIT */
/* Sets of page numbers, against a plain array, and what the work of finding them follows; pages
 * into a memfd. */
#include "libcommon/page_sink.h"
#include "tests/unit/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t rng_state = 12345;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static void die(const struct fail *why)
{
	printf("Bail out! %s\n", why->what);
	exit(1);
}

/* The runs that the array has are those that the set gives, from a page on and up to another. */
static bool same_runs(struct pageset *s, const bool *has, uint64_t from, uint64_t end)
{
	uint64_t first, count;

	for (;;) {
		uint64_t a = from, b;

		while (a < end && !has[a])
			a++;
		for (b = a; b < end && has[b];)
			b++;
		if (!pageset_next(s, from, end, &first, &count))
			return a == end;
		if (first != a || count != b - a)
			return false;
		from = b;
	}
}

static void test_set(uint64_t npages)
{
	bool           *has = calloc(npages, sizeof(*has)), same = true;
	struct pageset  s;
	struct fail     why;
	char            claim[100];

	if (!has || pageset_open(&s, npages, &why))
		die(&why);
	for (int i = 0; i < 3000; i++) {
		uint64_t first = rng() % npages, count = rng() % (rng() % 5 ? 70 : 5000);

		count = count < npages - first ? count : npages - first;
		bool add = rng() % 2;

		if (add)
			pageset_add(&s, first, count);
		else
			pageset_drop(&s, first, count);
		memset(has + first, add, count);
		if (i % 50 == 0) {
			uint64_t from = rng() % npages;

			same &= same_runs(&s, has, 0, npages) &&
				same_runs(&s, has, from, from + rng() % (npages - from + 1));
		}
	}
	for (uint64_t p = 0; p < npages; p++)
		same &= pageset_has(&s, p) == has[p];
	snprintf(claim, sizeof(claim), "a set of %llu pages holds what was added and not dropped",
		 (unsigned long long)npages);
	ok(same && !pageset_has(&s, npages), claim);
	pageset_close(&s);
	free(has);
}

/* 16 TiB with 1000 pages: finding all of them, and finding nothing, a thousand times over. */
static void test_work(void)
{
	const uint64_t npages = UINT64_C(1) << 32;
	struct pageset s;
	struct fail    why;
	uint64_t       first, count, found = 0;

	if (pageset_open(&s, npages, &why))
		die(&why);
	for (uint64_t i = 0; i < 1000; i++)
		pageset_add(&s, i * 4000037, 1);
	s.words = 0;
	for (uint64_t from = 0; pageset_next(&s, from, npages, &first, &count);
	     from = first + count)
		found += first % 4000037 == 0 && count == 1;
	ok(found == 1000 && s.words < 1000 * 20,
	   "1000 pages scattered over 16 TiB are found by fewer than 20 words each");
	s.words = 0;
	pageset_drop(&s, 0, npages);
	ok(s.words < 1000 * 40 && !pageset_next(&s, 0, npages, &first, &count),
	   "dropping them costs fewer than 40 words each");
	s.words = 0;
	for (int i = 0; i < 1000; i++)
		found += pageset_next(&s, 0, npages, &first, &count);
	ok(found == 1000 && s.words < 1000 * 20,
	   "that a set of 16 TiB is empty is seen by fewer than 20 words");
	pageset_close(&s);
	ok(pageset_open(&s, (UINT64_C(1) << 36) + 1, &why) == -1 && why.kind == FAIL_LIMIT,
	   "more than 2^36 pages are refused");
}

static struct page_batch batch;

static void batch_run(uint64_t first, uint32_t count, enum page_kind kind)
{
	batch.pages   = batch.data;
	batch.nruns   = 1;
	batch.ndata   = kind == PAGE_DATA ? count : 0;
	batch.runs[0] = (struct page_run){ .first = first, .count = count, .kind = kind };
	for (uint32_t i = 0; i < batch.ndata; i++)
		memset(batch.data + (size_t)i * PAGE_SIZE_4K, (int)(first + i) | 1, PAGE_SIZE_4K);
}

static uint64_t blocks_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? UINT64_MAX : (uint64_t)st.st_blocks;
}

/* A region of 16 TiB, as a hostile snapshot may have it: its zero runs cost what they change. */
static void test_sink(void)
{
	const uint64_t   npages = UINT64_C(1) << 32;
	int              fd     = memfd_create("sink", MFD_CLOEXEC);
	struct page_sink s;
	struct fail      why;
	uint8_t          page[PAGE_SIZE_4K], was;

	if (fd < 0 || ftruncate(fd, (off_t)(npages * PAGE_SIZE_4K)) ||
	    pwrite(fd, "x", 1, (off_t)(77 * PAGE_SIZE_4K)) != 1) {
		skip("pages into a memfd of 16 TiB", "no such memfd here");
		return;
	}
	if (page_sink_open(&s, fd, npages, "ram", &why))
		die(&why);
	ok(pageset_has(&s.written, 77) && !pageset_has(&s.written, 78),
	   "what is in the memory already is noted");
	batch_run(npages - 3, 3, PAGE_DATA);
	if (page_sink_batch(&s, &batch, &why))
		die(&why);
	ok(pread(fd, page, sizeof(page), (off_t)((npages - 2) * PAGE_SIZE_4K)) == sizeof(page) &&
		   page[0] == 0xff && page[4095] == 0xff,
	   "pages go where they belong");

	was = 0;
	s.written.words = 0;
	batch_run(0, UINT32_MAX, PAGE_ZERO);
	for (int i = 0; i < 1000; i++)
		was |= page_sink_batch(&s, &batch, &why) != 0;
	ok(!was && s.written.words < 1000 * 20,
	   "a thousand zero runs of 16 TiB look at fewer than 20 words each");
	batch_run(npages - 3, 3, PAGE_ZERO);
	ok(page_sink_batch(&s, &batch, &why) == 0 && blocks_of(fd) == 0,
	   "zero pages give the memory back");

	batch_run(npages - 1, 2, PAGE_ZERO);
	ok(page_sink_batch(&s, &batch, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "a run past the end is refused");
	batch_run(0, 1, PAGE_PARENT);
	ok(page_sink_batch(&s, &batch, &why) == -1 && why.kind == FAIL_VERSION,
	   "pages of a parent snapshot are refused");
	batch_run(0, BATCH_PAGES, PAGE_DATA);
	batch.runs[0].count = BATCH_PAGES + 1;
	ok(page_sink_batch(&s, &batch, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "more pages than a batch holds are refused");
	page_sink_close(&s);
	close(fd);
}

int main(void)
{
	static const uint64_t sizes[] = { 1, 63, 64, 65, 4096, 4097, 300000 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		test_set(sizes[i]);
	test_work();
	test_sink();
	return done_testing();
}
