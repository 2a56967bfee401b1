/* SPDX-License-Identifier: MIT */
#include "libcommon/io.h"
#include "libcommon/text.h"
#include "vminspect/open_snapshot.h"
#include "vminspect/options.h"
#include "vminspect/show.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Up to here the range of a pipe's snapshot is kept in memory, above in a file without a name. */
#define MEM_MEMORY ((uint64_t)64 << 20)

struct mem {
	const struct args *a;
	int                spool;       /* pipe: the range, sparse; -1 for a file */
	uint8_t            line[16];    /* the last line that was printed in full */
	bool               have_line, starred;
};

static const struct machine_region *mem_region(const struct machine *m, uint64_t gpa)
{
	for (uint32_t i = 0; i < m->nregions; i++) {
		const struct machine_region *r = &m->regions[i];

		if (r->kind != REGION_DISK && gpa >= r->gpa && gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

/* Every byte of the range must be some region's, before anything is looked for. */
static int mem_check(const struct snapshot_view *v, const struct args *a, struct fail *why)
{
	uint64_t at = a->gpa, left = a->len;

	if (view_state_only(v))
		return fail_set(why, FAIL_REFUSED,
				"%s: snapshot without memory (saved with --state-only)",
				v->in.what);
	if (a->len - 1 > UINT64_MAX - a->gpa)
		return fail_set(why, FAIL_USAGE,
				"range exceeds the 64-bit address space: %" PRIu64
				" bytes at 0x%" PRIx64, a->len, a->gpa);
	while (left) {
		const struct machine_region *r = mem_region(&v->config, at);

		if (!r)
			return fail_set(why, FAIL_USAGE, "%s: no guest memory at 0x%" PRIx64,
					v->in.what, at);
		if (left <= r->size - (at - r->gpa))
			return 0;
		left -= r->size - (at - r->gpa);
		at += r->size - (at - r->gpa);
	}
	return 0;
}

static int mem_spool_open(struct mem *m, struct fail *why)
{
	const char *dir = getenv("TMPDIR");

	if (m->a->len <= MEM_MEMORY) {
		m->spool = memfd_create("vminspect", MFD_CLOEXEC);
	} else {
		char path[4096];

		dir = dir && dir[0] ? dir : "/tmp";
		m->spool = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (m->spool < 0 && (size_t)snprintf(path, sizeof(path), "%s/vminspect.XXXXXX", dir)
					    < sizeof(path)) {
			/* Not every file system can do it without a name. */
			m->spool = mkostemp(path, O_CLOEXEC);
			if (m->spool >= 0)
				unlink(path);
		}
	}
	if (m->spool < 0 || ftruncate(m->spool, (off_t)m->a->len))
		return fail_sys(why, "temporary file of %" PRIu64 " bytes", m->a->len);
	return 0;
}

static int mem_config(void *arg, const struct snapshot_view *v, struct fail *why)
{
	struct mem *m = arg;

	return mem_check(v, m->a, why) ? -1 : mem_spool_open(m, why);
}

/* What of [gpa, gpa + len) lies in the range: its first byte and how many. */
static bool mem_clip(const struct args *a, uint64_t gpa, uint64_t len, uint64_t *from, uint64_t *n)
{
	uint64_t last = a->gpa + (a->len - 1), end = gpa + (len - 1);

	if (gpa > last || end < a->gpa)
		return false;
	*from = gpa > a->gpa ? gpa : a->gpa;
	*n    = (end < last ? end : last) - *from + 1;
	return true;
}

/* Zero pages, replacing what came before: a hole, however many a run claims. */
static int mem_zero(struct mem *m, uint64_t gpa, uint64_t len, struct fail *why)
{
	static const uint8_t zeroes[PAGE_SIZE_4K];
	uint64_t             from, n;

	if (!mem_clip(m->a, gpa, len, &from, &n))
		return 0;
	from -= m->a->gpa;
	if (fallocate(m->spool, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
		      (off_t)n) == 0)
		return 0;
	for (uint64_t step; n; from += step, n -= step) {
		step = n < sizeof(zeroes) ? n : sizeof(zeroes);
		if (io_pwrite(m->spool, zeroes, (size_t)step, from, "spool", why))
			return -1;
	}
	return 0;
}

static int mem_pages(void *arg, const struct snapshot_view *v, const struct page_batch *b,
		     struct fail *why)
{
	struct mem                  *m    = arg;
	const struct machine_region *r    = machine_region_find(&v->config, b->region);
	const uint8_t               *data = b->pages;
	uint64_t                     from, n;

	if (!r)
		return 0;
	for (uint32_t i = 0; i < b->nruns; i++) {
		const struct page_run *run = &b->runs[i];
		uint64_t               gpa = r->gpa + run->first * PAGE_SIZE_4K;
		uint64_t               len = (uint64_t)run->count * PAGE_SIZE_4K;

		if (run->kind != PAGE_DATA) {
			if (mem_zero(m, gpa, len, why))
				return -1;
			continue;
		}
		if (mem_clip(m->a, gpa, len, &from, &n) &&
		    io_pwrite(m->spool, data + (from - gpa), (size_t)n, from - m->a->gpa, "spool",
			      why))
			return -1;
		data += len;
	}
	return 0;
}

/* The bytes from gpa to the end of its page, or of the range: *n of them. */
static int mem_piece(struct mem *m, struct snapshot_view *v, uint64_t gpa, uint64_t left,
		     uint8_t page[PAGE_SIZE_4K], size_t *n, struct fail *why)
{
	const struct machine_region *r  = mem_region(&v->config, gpa);
	size_t                       at = gpa % PAGE_SIZE_4K;
	enum page_kind               kind;

	*n = left < PAGE_SIZE_4K - at ? (size_t)left : PAGE_SIZE_4K - at;
	if (m->spool >= 0)
		return io_pread(m->spool, page, *n, gpa - m->a->gpa, "spool", why);
	if (snap_image_page(v->image, r->id, (gpa - r->gpa) / PAGE_SIZE_4K, page, &kind, why))
		return -1;
	memmove(page, page + at, *n);
	return 0;
}

static void mem_line(struct mem *m, uint64_t gpa, const uint8_t *p, size_t n, bool last)
{
	if (n == 16 && m->have_line && !last && memcmp(p, m->line, 16) == 0) {
		if (!m->starred)
			puts("*");
		m->starred = true;
		return;
	}
	m->starred = false;
	printf("%016" PRIx64 " ", gpa);
	for (size_t i = 0; i < 16; i++) {
		if (i == 8)
			putchar(' ');
		if (i < n)
			printf(" %02x", p[i]);
		else
			fputs("   ", stdout);
	}
	fputs("  |", stdout);
	for (size_t i = 0; i < n; i++)
		putchar(p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '.');
	puts("|");
	m->have_line = n == 16;
	memcpy(m->line, p, n);
}

/* As hexdump -C: sixteen bytes a line, lines like the one before as a star. A line may join two
 * pages. */
static int mem_dump(struct mem *m, struct snapshot_view *v, struct fail *why)
{
	uint8_t  page[PAGE_SIZE_4K], line[16];
	uint64_t gpa = m->a->gpa, left = m->a->len;
	size_t   have = 0, n;

	while (left) {
		if (mem_piece(m, v, gpa, left, page, &n, why))
			return -1;
		gpa += n;
		left -= n;
		for (size_t i = 0; i < n; i++) {
			line[have++] = page[i];
			if (have < 16 && (left || i + 1 < n))
				continue;
			mem_line(m, gpa - n + i + 1 - have, line, have, left == 0 && i + 1 == n);
			have = 0;
		}
	}
	return 0;
}

static int mem_raw(struct mem *m, struct snapshot_view *v, struct fail *why)
{
	uint8_t  page[PAGE_SIZE_4K];
	uint64_t gpa = m->a->gpa, left = m->a->len;
	size_t   n;

	for (; left; gpa += n, left -= n) {
		if (mem_piece(m, v, gpa, left, page, &n, why))
			return -1;
		if (fwrite(page, 1, n, stdout) != n)
			return fail_sys(why, "standard output");
	}
	return 0;
}

/* By hand: the bytes may be many, and all of it need not be in memory. */
static int mem_json(struct mem *m, struct snapshot_view *v, struct fail *why)
{
	uint8_t  page[PAGE_SIZE_4K];
	char     hex[2 * PAGE_SIZE_4K + 1];
	uint64_t gpa = m->a->gpa, left = m->a->len;
	size_t   n;

	printf("{\n  \"gpa\": \"0x%" PRIx64 "\",\n  \"length\": %" PRIu64 ",\n  \"bytes\": \"", gpa,
	       left);
	for (; left; gpa += n, left -= n) {
		if (mem_piece(m, v, gpa, left, page, &n, why))
			return -1;
		if (fputs(text_hex(page, n, hex), stdout) == EOF)
			return fail_sys(why, "standard output");
	}
	printf("\"\n}\n");
	return 0;
}

int mem_run(const struct args *a, struct fail *why)
{
	struct mem             m    = { .a = a, .spool = -1 };
	const struct view_want want = { .config = mem_config, .pages = mem_pages, .arg = &m };
	struct snapshot_view  *v    = NULL;
	int                    rc   = -1;

	if (a->raw && isatty(STDOUT_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard output is a terminal: --raw is binary, redirect it");
	if (view_open(&v, a->file, &want, why))
		goto out;
	if (v->image && mem_check(v, a, why))
		goto out;
	rc = a->raw ? mem_raw(&m, v, why) : a->json ? mem_json(&m, v, why) : mem_dump(&m, v, why);
out:
	io_close(&m.spool);
	view_close(v);
	return rc;
}
