/* SPDX-License-Identifier: MIT */
/* Snapshot files read at random. */
#include "format/tree/machine.h"
#include "libcommon/io.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <unistd.h>

static void test_pages(void)
{
	static const int levels[] = { 0, 1, 3, GUEST_FLAT };
	bool             right = true, counts = true, trees = true, digests = true;

	for (int i = 0; i < 9; i++) {
		struct snap_image *s;
		struct fail        why;
		struct snap_digests written;
		uint8_t            page[4096];
		enum page_kind     kind;
		uint64_t           data = 0, zero = 0;
		size_t             len;
		int                fd = temp_file();

		guest_write(fd, levels[i % 4], (i + i / 4) % 3, &written);
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
	ok(right,
	   "every page is found and right, raw, compressed and flat, in any order of rounds");
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
	/* The first round's pages are superseded, and nobody looks there; nor at what has no part
	 * in finding a page: the ends of rounds, digests. */
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
		} else if (!refused(f, len, &why)) {
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
		  CHUNK_END, 64 + 64, 8, 4096 },
		{ "an index said to be past the end is refused",
		  CHUNK_END, 64 + 64, 8, UINT64_MAX },
		{ "2^64-1 index runs are refused",
		  CHUNK_END, 64 + 72, 8, UINT64_MAX },
		{ "2^59+3 index runs are refused",
		  CHUNK_END, 64 + 72, 8, ((uint64_t)1 << 59) + 3 },
		{ "2^27 index runs in a small file are refused",
		  CHUNK_END, 64 + 72, 8, (uint64_t)1 << 27 },
		{ "a directory said to be past the end is refused",
		  CHUNK_END, 64 + 80, 8, UINT64_MAX - 10 },
		{ "a directory said to be where the configuration is is refused",
		  CHUNK_END, 64 + 80, 8, 4096 },
		{ "an index run into another chunk's place is refused",
		  CHUNK_INDEX, 64 + 24, 8, 4096 },
		{ "an index run into nowhere is refused",
		  CHUNK_INDEX, 64 + 24, 8, UINT64_MAX },
		{ "an index run of another slot is refused",
		  CHUNK_INDEX, 64 + 4, 2, 1 },
		{ "an index run of slot 511 is refused",
		  CHUNK_INDEX, 64 + 4, 2, 511 },
		{ "an index run of slot 512 is refused",
		  CHUNK_INDEX, 64 + 4, 2, 512 },
		{ "an index run of 2^64-1 pages is refused",
		  CHUNK_INDEX, 64 + 16, 8, UINT64_MAX },
		{ "an index run past the region's end is refused",
		  CHUNK_INDEX, 64 + 64 + 8, 8, RAM_PAGES },
		{ "an index run of no pages is refused",
		  CHUNK_INDEX, 64 + 16, 8, 0 },
		{ "an index run of region 15 is refused",
		  CHUNK_INDEX, 64, 2, 15 },
		{ "an index run of region 2^16-1 is refused",
		  CHUNK_INDEX, 64, 2, UINT16_MAX },
		{ "index runs that overlap are refused",
		  CHUNK_INDEX, 64 + 32 + 8, 8, 3 },
		{ "index runs out of order are refused, whatever page is asked for",
		  CHUNK_INDEX, 64 + 64 + 8, 8, 2 },
		{ "an index run of an unknown kind is refused",
		  CHUNK_INDEX, 64 + 2, 2, 8 },
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

/* --- what is read --- */

static uint64_t reads, read_bytes;

int __real_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what,
		    struct fail *why);
int __wrap_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what,
		    struct fail *why);
int __wrap_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what, struct fail *why)
{
	reads++;
	read_bytes += len;
	return __real_io_pread(fd, buf, len, at, what, why);
}

static struct snap_writer *writer(int fd, const void *tree, size_t len)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;

	if (snap_writer_open(&w, fd, &h, NULL, "test", &why) ||
	    snap_writer_config(w, tree, len, &why))
		DIE("writer: %s", why.what);
	return w;
}

static void finish(struct snap_writer *w, const void *tree, size_t len)
{
	struct snap_digests digests;
	struct fail         why;

	if (snap_writer_state(w, tree, len, &why) || snap_writer_end(w, &digests, &why))
		DIE("writer: %s", why.what);
	snap_writer_close(w);
}

/* The whole file as a stream: how many chunks of a type, or -1. */
static int stream_counts(int fd, uint16_t type, struct fail *why)
{
	struct snap_stream *r;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	int                 rc, n = 0;

	lseek(fd, 0, SEEK_SET);
	if (snap_stream_open(&r, fd, "stream", why))
		return -1;
	while ((rc = snap_stream_next(r, &c, &payload, &at, why)) > 0)
		n += c.type == type;
	snap_stream_close(r);
	return rc < 0 ? -1 : n;
}

static int stream_of(const uint8_t *f, size_t len, uint16_t type, struct fail *why)
{
	int fd = memfd_of(f, len), n = stream_counts(fd, type, why);

	close(fd);
	return n;
}

static uint8_t *bytes_of(int fd, size_t *len)
{
	uint8_t *f;

	*len = (size_t)lseek(fd, 0, SEEK_END);
	f    = malloc(*len);
	if (!f || pread(fd, f, *len, 0) != (ssize_t)*len)
		DIE("read");
	return f;
}

static void no_chunk(void *arg, const struct chunk *c, const uint8_t *payload)
{
	(void)arg, (void)c, (void)payload;
}

/* All that the file reader checks, by one of its ways: 'i' the index, 'w' the walk, 'p' a page. */
static int file_of(const uint8_t *f, size_t len, char way, struct fail *why)
{
	struct snap_image *s;
	uint8_t            page[4096];
	enum page_kind     kind;
	int                fd = memfd_of(f, len), rc;

	if (snap_image_open(&s, fd, "file", why)) {
		close(fd);
		return -1;
	}
	rc = way == 'i' ? snap_image_index(s, why)
	   : way == 'w' ? snap_image_walk(s, no_chunk, NULL, why)
			: snap_image_page(s, 3, VRAM_PAGES - 1, page, &kind, why);
	snap_image_close(s);
	close(fd);
	return rc;
}

/* More runs than one INDEX chunk holds: single pages sent in descending order share no run, though
 * they are neighbours. */
static int large_index(void)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, config, config_len);
	struct fail         why;

	for (uint64_t p = RAM_PAGES + VRAM_PAGES; p-- > 0;) {
		page_batch_begin(batch, p < RAM_PAGES ? 0 : 3);
		memset(page_batch_slot(batch), 1 + (int)(p % 255), 4096);
		page_batch_add_slot(batch, p < RAM_PAGES ? p : p - RAM_PAGES);
		if (snap_writer_pages(w, batch, &why))
			DIE("large: %s", why.what);
	}
	finish(w, state, state_len);
	return fd;
}

static void test_large_index(void)
{
	struct snap_image *s;
	struct fail        why;
	uint8_t            page[4096];
	enum page_kind     kind;
	bool               right = true, few = true;
	int                fd = large_index();
	uint64_t           before;

	read_bytes = reads = 0;
	if (snap_image_open(&s, fd, "large", &why))
		DIE("large: %s", why.what);
	ok(read_bytes < SNAP_HEADER_BYTES + SNAP_END_BYTES + 2 * 1600 + 1024 && reads < 20,
	   "opening a file of 10 MiB reads header, trees, directory and end");
	printf("# %llu bytes in %llu reads\n", (unsigned long long)read_bytes,
	       (unsigned long long)reads);
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t p = i < RAM_PAGES + VRAM_PAGES ? i : rng() % (RAM_PAGES + VRAM_PAGES);

		before = read_bytes;
		right &= snap_image_page(s, p < RAM_PAGES ? 0 : 3,
					 p < RAM_PAGES ? p : p - RAM_PAGES,
					 page, &kind, &why) == 0 &&
			 page[77] == (uint8_t)(1 + p % 255) && kind == PAGE_DATA;
		/* A chunk of the index, one of the level above, tables and gap, the page. */
		few &= read_bytes - before < 2 * 65600 + 3 * 4096 + 64;
	}
	snap_image_close(s);
	ok(right, "an index of several chunks is searched across them");
	ok(few, "a page costs a chunk a level, its own chunk's tables and itself");
	ok(stream_counts(fd, CHUNK_INDEX, &why) == 2 &&
	   stream_counts(fd, CHUNK_INDEX_LEVEL, &why) == 1, "and verified by the stream");
	close(fd);
}

/* What is wrong with the levels is refused by a stream, and by a file when it looks there. */
static void test_levels(void)
{
	struct chunk pad = chunk_of(CHUNK_PAD, 0, 0);
	struct fail  why;
	uint8_t     *f, *g;
	size_t       len, n, at, next;
	int          fd = large_index();

	f    = bytes_of(fd, &len);
	at   = guest_find(f, CHUNK_INDEX_LEVEL);
	next = guest_next(f, guest_find(f, CHUNK_INDEX));
	close(fd);
	for (unsigned i = 0; i < 2; i++) {
		n = len, g = malloc(len);
		memcpy(g, f, len);
		guest_insert(&g, &n, i ? at : next, &pad, "");
		ok(stream_of(g, n, 0, &why) == -1 && strstr(why.what, "unexpected") &&
		   file_of(g, n, 'w', &why) == -1 && strstr(why.what, "unexpected") &&
		   file_of(g, n, 'i', &why) == -1 && file_of(g, n, 'p', &why) == -1,
		   i ? "PAD before the level is refused" : "PAD within the index is refused");
		free(g);
	}
	n = len, g = malloc(len);
	memcpy(g, f, len);
	guest_insert(&g, &n, guest_next(f, at), &pad, "");
	ok(stream_of(g, n, CHUNK_PAD, &why) == 1 && file_of(g, n, 'w', &why) == 0 &&
	   file_of(g, n, 'i', &why) == 0 && file_of(g, n, 'p', &why) == 0,
	   "behind the level it is not");
	free(g);
	n = len, g = malloc(len);
	memcpy(g, f, len);
	guest_remove(&g, &n, at);
	ok(stream_of(g, n, 0, &why) == -1 && strstr(why.what, "index-level chunk missing") &&
	   file_of(g, n, 'w', &why) == -1, "a level that is left out is refused");
	free(g);
	n = len, g = malloc(len);
	memcpy(g, f, len);
	put_le64(g + at + 64 + 16 + 8, get_le64(g + at + 64 + 16 + 8) + 1);
	guest_rehash(g, n);
	ok(stream_of(g, n, 0, &why) == -1 && strstr(why.what, "does not match the index") &&
	   file_of(g, n, 'i', &why) == -1 && file_of(g, n, 'p', &why) == -1 &&
	   strstr(why.what, "does not match its key"),
	   "a key of another page is refused");
	free(g);
	n = len, g = malloc(len);
	memcpy(g, f, len);
	put_le64(g + at + 64 + 16 + 8, VRAM_PAGES);
	guest_rehash(g, n);
	ok(stream_of(g, n, 0, &why) == -1 && file_of(g, n, 'p', &why) == -1 &&
	   strstr(why.what, "out of range"), "so is a key past the region's end");
	free(g);
	n = len, g = malloc(len);
	memcpy(g, f, len);
	memcpy(g + at + 64, f + at + 64 + 16, 16);
	guest_rehash(g, n);
	ok(stream_of(g, n, 0, &why) == -1 && file_of(g, n, 'i', &why) == -1 &&
	   file_of(g, n, 'p', &why) == -1 && strstr(why.what, "keys not in ascending order"),
	   "keys out of order are refused");
	free(g);
	free(f);
}

/* More chunks than one DIRECTORY chunk lists: the ends of 2100 rounds. */
static void test_large_directory(void)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, config, config_len);
	struct fail         why;
	uint8_t            *f, *g;
	size_t              len, at;

	for (uint64_t r = 0; r < 2100; r++) {
		page_batch_begin(batch, 0);
		page_batch_add_zero(batch, r % RAM_PAGES);
		if (snap_writer_pages(w, batch, &why) || snap_writer_round_end(w, &why) ||
		    snap_writer_round_end(w, &why))
			DIE("rounds: %s", why.what);
	}
	finish(w, state, state_len);
	ok(stream_counts(fd, CHUNK_DIRECTORY, &why) == 2 &&
	   stream_counts(fd, CHUNK_ROUND_END, &why) == 2100,
	   "a directory of two chunks, verified by the stream; empty rounds are left out");
	f  = bytes_of(fd, &len);
	at = guest_find(f, CHUNK_DIRECTORY);
	ok(get_le32(f + at + 20) == 65536 && file_of(f, len, 'w', &why) == 0 &&
	   file_of(f, len, 'i', &why) == 0, "and by a walk over the file");
	for (unsigned i = 0; i < 2; i++) {
		g = malloc(len);
		memcpy(g, f, len);
		at = guest_next(g, guest_find(g, CHUNK_DIRECTORY));
		if (i)      /* descending, else another length */
			put_le64(g + at + 64 + 24, 5000);
		else
			put_le32(g + at + 64 + 12, 24);
		guest_rehash(g, len);
		ok(stream_of(g, len, 0, &why) == -1 && strstr(why.what, "mismatch") &&
		   file_of(g, len, 'w', &why) == -1 && why.kind == FAIL_CORRUPT,
		   i ? "an entry of the second one at another place is refused"
		     : "an entry of the second one of another length is refused");
		free(g);
	}
	free(f);
	close(fd);
}

/* --- large regions --- */

static void test_sparse(void)
{
	const uint64_t      npages = LIMIT_REGION_BYTES / 4096;
	const uint64_t      where[] = { 0, 1, npages / 2 + 77, npages - 1 };
	struct machine     *m = malloc(sizeof(*m));
	uint8_t            *tree = aligned_alloc(8, LIMIT_TREE_BYTES), page[4096];
	int                 fd = temp_file();
	struct snap_writer *w;
	struct snap_image  *s;
	struct fail         why;
	enum page_kind      kind;
	size_t              len;
	bool                right = true;

	if (machine_read(m, config, config_len, &why))
		DIE("configuration: %s", why.what);
	m->nregions        = 1;
	m->regions[0].size = LIMIT_REGION_BYTES;
	if (machine_write(m, tree, LIMIT_TREE_BYTES, &len, &why))
		DIE("configuration: %s", why.what);
	w = writer(fd, tree, len);
	/* What is zero in the end, by a run of 2^32-1 pages; then four pages of data. */
	page_batch_begin(batch, 0);
	batch->nruns   = 1;
	batch->runs[0] = (struct page_run){ .first = 1, .count = UINT32_MAX, .kind = PAGE_ZERO };
	if (snap_writer_pages(w, batch, &why))
		DIE("sparse: %s", why.what);
	page_batch_begin(batch, 0);
	for (unsigned i = 0; i < 4; i++) {
		memset(page_batch_slot(batch), 65 + (int)i, 4096);
		page_batch_add_slot(batch, where[i]);
	}
	if (snap_writer_pages(w, batch, &why))
		DIE("sparse: %s", why.what);
	finish(w, state, state_len);
	ok(lseek(fd, 0, SEEK_END) < 64 << 10, "16 TiB with four pages of data are a small file");
	ok(stream_counts(fd, CHUNK_PAGES, &why) == 2, "that a stream reads");
	read_bytes = reads = 0;
	if (snap_image_open(&s, fd, "sparse", &why) || snap_image_index(s, &why) ||
	    snap_image_walk(s, no_chunk, NULL, &why))
		DIE("sparse: %s", why.what);
	ok(read_bytes < 64 << 10 && snap_image_pages(s, 0, PAGE_DATA) == 4 &&
	   snap_image_pages(s, 0, PAGE_ZERO) == npages - 4, "and a file, by a few reads");
	for (unsigned i = 0; i < 4; i++)
		right &= snap_image_page(s, 0, where[i], page, &kind, &why) == 0 &&
			 page[99] == 65 + i && kind == PAGE_DATA;
	right &= snap_image_page(s, 0, npages - 2, page, &kind, &why) == 0 && kind == PAGE_ZERO;
	ok(right, "each page is found");
	snap_image_close(s);
	close(fd);
	free(tree);
	free(m);
}

/* A program's own chunks, before pages and behind the state, and PAD. */
static void test_optional(void)
{
	static const char   text[] = "by the night job";
	const uint16_t      type = CHUNK_PRIVATE + 7;
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, config, config_len);
	struct snap_image  *s;
	struct snap_digests digests;
	struct fail         why;
	uint8_t            *got;
	size_t              len;

	ok(snap_writer_optional(w, CHUNK_PAGES, text, 4, &why) == -1 && why.kind == FAIL_USAGE &&
	   snap_writer_optional(w, CHUNK_AUTH, text, 4, &why) == -1 && why.kind == FAIL_USAGE &&
	   snap_writer_optional(w, 999, text, 4, &why) == -1 && why.kind == FAIL_USAGE,
	   "a type that is required, has its place or is nobody's cannot be written so");
	ok(snap_writer_optional(w, type, text, LIMIT_CHUNK_BYTES + 1ul, &why) == -1 &&
	   why.kind == FAIL_LIMIT, "nor what is too long");
	if (snap_writer_optional(w, type, text, sizeof(text), &why))
		DIE("optional: %s", why.what);
	page_batch_begin(batch, 0);
	memset(page_batch_slot(batch), 1, 4096);
	page_batch_add_slot(batch, 7);
	if (snap_writer_pages(w, batch, &why) ||
	    snap_writer_optional(w, type, NULL, 0, &why) ||
	    snap_writer_state(w, state, state_len, &why) ||
	    snap_writer_optional(w, type, text, 3, &why) || snap_writer_end(w, &digests, &why))
		DIE("optional: %s", why.what);
	snap_writer_close(w);
	ok(stream_counts(fd, type, &why) == 3, "a stream skips a program's own chunks");
	if (snap_image_open(&s, fd, "optional", &why) || snap_image_walk(s, no_chunk, NULL, &why))
		DIE("optional: %s", why.what);
	ok(snap_image_optional(s, type, 0, &got, &len, &why) == 1 && len == sizeof(text) &&
	   memcmp(got, text, len) == 0, "a file finds the first of them");
	free(got);
	ok(snap_image_optional(s, type, 1, &got, &len, &why) == 1 && len == 0, "an empty one");
	free(got);
	ok(snap_image_optional(s, type, 2, &got, &len, &why) == 1 && len == 3, "the third");
	free(got);
	ok(snap_image_optional(s, type, 3, &got, &len, &why) == 0 &&
	   snap_image_optional(s, CHUNK_WORKINGSET, 0, &got, &len, &why) == 0, "and no more");
	snap_image_close(s);
	close(fd);
}

/* An index that leads, for a page of region 3, to a chunk of region 0: refused whether or not that
 * chunk has just been read. */
static void test_other_region(void)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, config, config_len);
	struct snap_image  *s;
	struct fail         why;
	uint8_t            *f, page[4096];
	enum page_kind      kind;
	size_t              len, at;

	for (unsigned i = 0; i < 2; i++) {
		page_batch_begin(batch, i ? 3 : 0);
		memset(page_batch_slot(batch), 65 + (int)i, 4096);
		page_batch_add_slot(batch, 7);
		if (snap_writer_pages(w, batch, &why))
			DIE("regions: %s", why.what);
	}
	finish(w, state, state_len);
	f = bytes_of(fd, &len);
	close(fd);
	at = guest_find(f, CHUNK_INDEX) + 64;
	put_le64(f + at + 32 + 24, get_le64(f + at + 24));
	guest_rehash(f, len);
	fd = memfd_of(f, len);
	for (unsigned i = 0; i < 2; i++) {
		if (snap_image_open(&s, fd, "regions", &why) ||
		    (i && snap_image_page(s, 0, 7, page, &kind, &why)))
			DIE("regions: %s", why.what);
		ok(snap_image_page(s, 3, 7, page, &kind, &why) == -1 &&
		   why.kind == FAIL_CORRUPT && strstr(why.what, "no pages chunk of region 3"),
		   i ? "a chunk of another region is refused, too, when it is the one kept"
		     : "a chunk of another region is refused");
		snap_image_close(s);
	}
	close(fd);
	free(f);
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
	test_levels();
	test_large_directory();
	test_sparse();
	test_optional();
	test_other_region();
	free(batch);
	return done_testing();
}
