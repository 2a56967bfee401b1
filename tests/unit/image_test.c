/* SPDX-License-Identifier: MIT */
/* Snapshot files read at random. */
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <unistd.h>

static void test_pages(void)
{
	static const int levels[] = { 0, 1, 3 };
	bool             right = true, counts = true, trees = true, digests = true;

	for (int i = 0; i < 6; i++) {
		struct snap_image *s;
		struct fail        why;
		struct snap_digests written;
		uint8_t            page[4096];
		enum page_kind     kind;
		uint64_t           data = 0, zero = 0;
		size_t             len;
		int                fd = temp_file();

		guest_write(fd, levels[i % 3], i / 2, &written);
		if (snap_image_open(&s, fd, "test.vms", &why))
			DIE("open: %s (at %llu)", why.what, (unsigned long long)why.at);
		for (uint64_t n = 0; n < RAM_PAGES * 2; n++) {
			uint64_t p = n < RAM_PAGES ? n : rng() % RAM_PAGES;

			if (snap_image_page(s, 0, p, page, &kind, &why))
				DIE("page %llu: %s", (unsigned long long)p, why.what);
			right &= memcmp(page, ram[p], 4096) == 0 &&
				kind == (page_is_zero(ram[p], 4096) ? PAGE_ZERO : PAGE_DATA);
			if (n < RAM_PAGES && ram_touched[p]) {
				data += kind == PAGE_DATA;
				zero += kind == PAGE_ZERO;
			}
		}
		for (uint64_t p = 0; p < VRAM_PAGES; p++)
			right &= snap_image_page(s, 3, p, page, &kind, &why) == 0 &&
				memcmp(page, vram[p], 4096) == 0;
		if (snap_image_index(s, &why))
			DIE("index: %s", why.what);
		counts &= snap_image_pages(s, 0, PAGE_DATA) == data &&
			snap_image_pages(s, 0, PAGE_ZERO) == zero &&
			  snap_image_pages(s, 9, PAGE_DATA) == 0;
		trees &= memcmp(snap_image_config(s, &len), config, config_len) == 0 &&
			 len == config_len &&
			 memcmp(snap_image_state(s, &len), state, state_len) == 0 &&
			 len == state_len &&
			 snap_image_bytes(s) == (uint64_t)lseek(fd, 0, SEEK_END);
		digests &= memcmp(snap_image_digests(s), &written, sizeof(written)) == 0;
		if (i == 0) {
			ok(snap_image_page(s, 0, RAM_PAGES, page, &kind, &why) &&
			   why.kind == FAIL_USAGE,
			   "a page outside its region is refused");
			ok(snap_image_page(s, 7, 0, page, &kind, &why) && why.kind == FAIL_USAGE,
			   "a region that is not there is refused");
		}
		snap_image_close(s);
		close(fd);
	}
	ok(right, "every page is found and right, raw and compressed, in any order of rounds");
	ok(counts, "the index tells how many pages of a kind there are");
	ok(trees, "both trees and the length are right");
	ok(digests, "the digests are those the writer gave");
}

/* Opens it and reads pages 0 to 7 of region 0: 0, or -1. */
static int look(const uint8_t *f, size_t len, struct fail *why)
{
	struct snap_image *s;
	uint8_t            page[4096];
	enum page_kind     kind;
	int                fd = memfd_of(f, len), rc = 0;

	if (snap_image_open(&s, fd, "test.vms", why)) {
		close(fd);
		return -1;
	}
	for (uint64_t p = 0; rc == 0 && p < 8; p++)
		rc = snap_image_page(s, 0, p, page, &kind, why);
	snap_image_close(s);
	close(fd);
	return rc;
}

static bool refused(const uint8_t *f, size_t len, struct fail *why)
{
	return look(f, len, why) == -1 &&
	       (why->kind == FAIL_CORRUPT || why->kind == FAIL_VERSION ||
		why->kind == FAIL_LIMIT) &&
	       why->has_at;
}

/* What is used is checked: both ends, trees, index, and of each page its chunk's tables and
 * itself. */
static void test_damage(int level, const char *claim)
{
	struct fail why;
	uint8_t    *f;
	size_t      len = guest_small(&f, level, 0), missed = 0, same = 0;
	/* The first round's pages are superseded, and nobody looks there; nor at what has no part in
	 * finding a page: the ends of rounds, digests. */
	size_t      pages = guest_find(f, CHUNK_PAGES), skip = guest_next(f, guest_next(f, pages)),
		    next = guest_next(f, skip), last = guest_next(f, next),
		    digests = guest_find(f, CHUNK_DIGESTS), index = guest_find(f, CHUNK_INDEX);
	/* Of a frame only the pages count that it holds. */
	size_t      frame = skip + CHUNK_HEADER_BYTES + get_le32(f + skip + 32);

	if (look(f, len, &why))
		DIE("small: %s", why.what);
	for (int i = 0; i < 3000; i++) {
		size_t bit = rng() % (len * 8), at = bit / 8;

		if ((at >= pages && at < skip) || (at >= next && at < last) ||
		    (at >= digests && at < index))
			continue;
		f[at] ^= (uint8_t)(1 << bit % 8);
		if (!refused(f, len, &why) && level && at >= frame && at < next) {
			same++;
		} else if (!refused(f, len, &why) && !(padding_at(f, len, at))) {
			missed++;
			printf("# bit %zu of byte %zu went unseen\n", bit % 8, at);
		}
		f[at] ^= (uint8_t)(1 << bit % 8);
	}
	ok(missed == 0, claim);
	missed = 0;
	for (size_t cut = 0; cut < len; cut += cut < len - 300 ? 101 : 1)
		missed += !refused(f, cut, &why);
	ok(missed == 0, "a file cut off anywhere is refused");
	f = realloc(f, len + 1);
	f[len] = 0;
	ok(refused(f, len + 1, &why) && strstr(why.what, "trailing data"),
	   "a byte behind the end is seen");
	free(f);
}

static void test_hostile(void)
{
	static const struct {
		const char *claim;
		uint16_t    chunk;
		size_t      at, width;
		uint64_t    value;
	} cases[] = {
		{ "an index said to be elsewhere is refused",
		  CHUNK_END, 48 + 48, 8, 4096 },
		{ "an index said to be past the end is refused",
		  CHUNK_END, 48 + 48, 8, UINT64_MAX },
		{ "2^64-1 index runs are refused",
		  CHUNK_END, 48 + 56, 8, UINT64_MAX },
		{ "2^58+3 index runs are refused",
		  CHUNK_END, 48 + 56, 8, ((uint64_t)1 << 59) + 3 },
		{ "2^27 index runs in a small file are refused",
		  CHUNK_END, 48 + 56, 8, (uint64_t)1 << 27 },
		{ "a state tree said to be past the end is refused",
		  CHUNK_END, 48 + 80, 8, UINT64_MAX - 10 },
		{ "a state tree said to be where the configuration is is refused",
		  CHUNK_END, 48 + 80, 8, 4096 },
		{ "an index run into another chunk's place is refused",
		  CHUNK_INDEX, 48 + 24, 8, 4096 },
		{ "an index run into nowhere is refused",
		  CHUNK_INDEX, 48 + 24, 8, UINT64_MAX },
		{ "an index run of another slot is refused",
		  CHUNK_INDEX, 48 + 6, 2, 1 },
		{ "an index run of slot 511 is refused",
		  CHUNK_INDEX, 48 + 6, 2, 511 },
		{ "an index run of slot 512 is refused",
		  CHUNK_INDEX, 48 + 6, 2, 512 },
		{ "an index run of 2^64-1 pages is refused",
		  CHUNK_INDEX, 48 + 16, 8, UINT64_MAX },
		{ "an index run of no pages is refused",
		  CHUNK_INDEX, 48 + 16, 8, 0 },
		{ "an index run of region 15 is refused",
		  CHUNK_INDEX, 48, 4, 15 },
		{ "an index run of region 2^32-1 is refused",
		  CHUNK_INDEX, 48, 4, UINT32_MAX },
		{ "index runs that overlap are refused",
		  CHUNK_INDEX, 48 + 32 + 8, 8, 3 },
		{ "an index run of an unknown kind is refused",
		  CHUNK_INDEX, 48 + 4, 2, 8 },
	};
	uint8_t    *f;
	size_t      len = guest_small(&f, 0, 0);
	struct fail why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *g = malloc(len);
		size_t   at = guest_find(f, cases[i].chunk);

		memcpy(g, f, len);
		for (size_t b = 0; b < cases[i].width; b++)
			g[at + cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		guest_rehash(g, len);
		bool is = refused(g, len, &why);
		ok(is, cases[i].claim);
		printf("#   %s (at byte %llu)\n", is ? why.what : "accepted",
		       (unsigned long long)why.at);
		free(g);
	}
	free(f);
}

static void test_kinds_of_file(void)
{
	struct snap_image *s;
	struct fail        why;
	uint8_t           *f, page[4096];
	enum page_kind     kind;
	size_t             len = guest_small(&f, 0, SNAP_STATE_ONLY);
	int                fd = memfd_of(f, len), ends[2];

	ok(snap_image_open(&s, fd, "s.vms", &why) == 0 &&
	   snap_image_page(s, 0, 0, page, &kind, &why) == -1 && why.kind == FAIL_REFUSED,
	   "a snapshot without memory opens and has no pages");
	snap_image_close(s);
	close(fd);
	free(f);
	if (pipe(ends))
		DIE("pipe");
	ok(snap_image_open(&s, ends[0], "pipe", &why) == -1 && why.kind == FAIL_USAGE,
	   "a pipe cannot be read at random, and is told so");
	close(ends[0]);
	close(ends[1]);
}

/* More runs than one INDEX chunk holds: single pages sent in descending order share no run, though
 * they are neighbours. */
static void test_large_index(void)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct snap_image  *s;
	struct snap_stream *r;
	struct chunk        c;
	struct fail         why;
	const uint8_t      *payload;
	uint8_t             content[16], page[4096];
	enum page_kind      kind;
	unsigned            chunks = 0;
	uint64_t            at;
	bool                right = true;
	int                 fd = temp_file(), rc;

	if (snap_writer_open(&w, fd, &h, 0, "large", &why) ||
	    snap_writer_config(w, config, config_len, &why))
		DIE("large: %s", why.what);
	for (uint64_t p = RAM_PAGES + VRAM_PAGES; p-- > 0;) {
		page_batch_begin(batch, p < RAM_PAGES ? 0 : 3);
		memset(page_batch_slot(batch), 1 + (int)(p % 255), 4096);
		page_batch_add_slot(batch, p < RAM_PAGES ? p : p - RAM_PAGES);
		if (snap_writer_pages(w, batch, &why))
			DIE("large: %s", why.what);
	}
	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, content, &why))
		DIE("large: %s", why.what);
	snap_writer_close(w);
	if (snap_image_open(&s, fd, "large", &why))
		DIE("large: %s", why.what);
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t p = i < RAM_PAGES + VRAM_PAGES ? i : rng() % (RAM_PAGES + VRAM_PAGES);

		right &= snap_image_page(s, p < RAM_PAGES ? 0 : 3,
					 p < RAM_PAGES ? p : p - RAM_PAGES,
					 page, &kind, &why) == 0 &&
			 page[77] == (uint8_t)(1 + p % 255) && kind == PAGE_DATA;
	}
	snap_image_close(s);
	ok(right, "an index of several chunks is searched across them");
	lseek(fd, 0, SEEK_SET);
	if (snap_stream_open(&r, fd, "large", &why))
		DIE("large: %s", why.what);
	while ((rc = snap_stream_next(r, &c, &payload, &at, &why)) > 0)
		chunks += c.type == CHUNK_INDEX;
	ok(rc == 0 && chunks == 2, "and verified by the stream");
	snap_stream_close(r);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_pages();
	test_damage(1, "a flipped bit in what a compressed page rests on is refused");
	test_hostile();
	test_kinds_of_file();
	test_large_index();
	free(batch);
	return done_testing();
}
