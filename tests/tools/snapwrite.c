/* SPDX-License-Identifier: MIT */
/* snapwrite FILE [MIB [LEVEL [KIND]]]: how fast a snapshot is written, verified and read at
 * random here. KIND: random, packs (3 of 4 bytes repeat), zero. FILE is made anew and removed
 * again; "-" writes to stdout and only that. Prints GB/s of guest memory beside those of a bare
 * copy of it. */
#include "format/tree/machine.h"
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "tests/unit/zero_state.h"

#include <err.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t *ram;
static uint64_t npages;

static void fill(const char *kind)
{
	uint64_t x = 88172645463325252;

	for (uint64_t i = 0; i < npages * PAGE_SIZE_4K / 8; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		put_le64(ram + i * 8, strcmp(kind, "zero") == 0 ? 0 :
				      strcmp(kind, "packs") == 0 && i % 4 ? i / 1000 : x);
	}
}

static void write_all(int fd, int level, struct page_batch *b)
{
	struct machine     *m = calloc(1, sizeof(*m));
	struct snap_header  h = { .arch = 243, .created_ns = (int64_t)io_realtime_ns(),
				  .name = "bench", .creator = "snapwrite" };
	const struct snap_writer_options o = { .level = level };
	struct snap_writer *w;
	struct snap_digests digests;
	uint8_t            *tree = aligned_alloc(8, LIMIT_TREE_BYTES);
	size_t              len;
	struct fail         why;

	if (!m || !tree)
		err(1, "memory");
	m->ncpus = 1;
	m->timebase_hz = 10000000;
	m->uuid.b[0] = h.vm.b[0] = 1;
	strcpy(m->cpu_model, "rv64i");
	strcpy(m->name, "bench");
	m->nregions = 1;
	m->regions[0] = (struct machine_region){ .name = "ram", .size = npages * PAGE_SIZE_4K,
						 .page_size = 4096 };
	if (machine_write(m, tree, LIMIT_TREE_BYTES, &len, &why) ||
	    snap_writer_open(&w, fd, &h, &o, "bench", &why) ||
	    snap_writer_config(w, tree, len, &why))
		errx(1, "%s", why.what);
	page_batch_begin(b, 0);
	for (uint64_t p = 0; p < npages; p++) {
		memcpy(page_batch_slot(b), ram + p * PAGE_SIZE_4K, PAGE_SIZE_4K);
		page_batch_add_slot(b, p);
		if (!page_batch_full(b) && p + 1 < npages)
			continue;
		if (snap_writer_pages(w, b, &why))
			errx(1, "%s", why.what);
		page_batch_begin(b, 0);
	}
	if (zero_state_write(m, tree, LIMIT_TREE_BYTES, &len, &why) ||
	    snap_writer_state(w, tree, len, &why) || snap_writer_end(w, &digests, &why))
		errx(1, "%s", why.what);
	fprintf(stderr, "%.1f MiB of file for %.1f MiB of memory\n",
		(double)snap_writer_bytes(w) / 1048576, (double)npages / 256);
	snap_writer_close(w);
	free(tree);
	free(m);
}

static void verify(int fd)
{
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	struct fail         why;
	int                 rc;

	if (lseek(fd, 0, SEEK_SET) || snap_stream_open(&s, fd, "bench", &why))
		errx(1, "open: %s", why.what);
	while ((rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0)
		;
	if (rc < 0)
		errx(1, "%s", why.what);
	snap_stream_close(s);
}

static void report(const char *what, uint64_t from)
{
	double s = (double)(io_now_ns() - from) / 1e9;

	printf("%-24s %6.2f GB/s  %7.3f s\n", what, (double)npages * PAGE_SIZE_4K / s / 1e9, s);
}

int main(int argc, char **argv)
{
	const char        *path = argc > 1 ? argv[1] : "-";
	uint64_t           mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 512;
	int                level = argc > 3 ? atoi(argv[3]) : 0, fd;
	struct page_batch *b = aligned_alloc(alignof(struct page_batch), sizeof(*b));
	struct snap_image *image;
	struct fail        why;
	uint64_t           t;

	npages = mib * 256;
	ram = mmap(NULL, npages * PAGE_SIZE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	if (ram == MAP_FAILED || !b || !npages)
		err(1, "memory");
	fill(argc > 4 ? argv[4] : "random");
	if (strcmp(path, "-") == 0) {
		write_all(STDOUT_FILENO, level, b);
		free(b);
		return 0;
	}
	t = io_now_ns();
	for (uint64_t p = 0; p < npages; p++) {
		memcpy(b->data + p % BATCH_PAGES * PAGE_SIZE_4K, ram + p * PAGE_SIZE_4K,
		       PAGE_SIZE_4K);
		__asm__ volatile("" : : "r"(b->data) : "memory");
	}
	report("bare copy", t);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		err(1, "%s", path);
	unlink(path);
	t = io_now_ns();
	write_all(fd, level, b);
	report("write, fsync", t);
	t = io_now_ns();
	verify(fd);
	report("verify as a stream", t);
	t = io_now_ns();
	if (snap_image_open(&image, fd, "bench", &why))
		errx(1, "%s", why.what);
	report("open at random", t);
	t = io_now_ns();
	for (uint64_t p = 0; p < npages; p++) {
		uint8_t        page[PAGE_SIZE_4K];
		enum page_kind kind;

		if (snap_image_page(image, 0, p, page, &kind, &why) ||
		    memcmp(page, ram + p * PAGE_SIZE_4K, PAGE_SIZE_4K))
			errx(1, "page %llu differs", (unsigned long long)p);
	}
	report("every page, one by one", t);
	snap_image_close(image);
	close(fd);
	free(b);
	munmap(ram, npages * PAGE_SIZE_4K);
	return 0;
}
