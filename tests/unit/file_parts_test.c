/* SPDX-License-Identifier: MIT */
/* What a file hands out besides pages: runs of the index, where memory is, images. */
#include "format/snapshot/flat.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <unistd.h>

static struct snap_writer *writer(int fd, enum snap_layout layout)
{
	const struct snap_writer_options o = { .layout = layout };
	struct snap_header               h = guest_header();
	struct snap_writer              *w;
	struct fail                      why;

	if (snap_writer_open(&w, fd, &h, &o, "parts", &why) ||
	    snap_writer_config(w, config, config_len, &why))
		DIE("writer: %s", why.what);
	return w;
}

static void finish(struct snap_writer *w)
{
	struct snap_digests digests;
	struct fail         why;

	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, &digests, &why))
		DIE("writer: %s", why.what);
	snap_writer_close(w);
}

static uint8_t *bytes_of(int fd, size_t *len)
{
	uint8_t *f;

	*len = (size_t)lseek(fd, 0, SEEK_END);
	f    = malloc(*len);
	if (!f || pread(fd, f, *len, 0) != (ssize_t)*len)
		DIE("read");
	close(fd);
	return f;
}

static struct snap_image *image_of(int fd)
{
	struct snap_image *s;
	struct fail        why;

	if (snap_image_open(&s, fd, "parts.vms", &why))
		DIE("open: %s", why.what);
	return s;
}

/* --- runs --- */

static void add(uint64_t first, uint64_t count, enum page_kind kind)
{
	for (uint64_t p = first; p < first + count; p++) {
		if (kind == PAGE_ZERO) {
			page_batch_add_zero(batch, p);
			continue;
		}
		memset(page_batch_slot(batch), 1 + (int)p % 9, 4096);
		page_batch_add_slot(batch, p);
	}
}

/* Region 0: data 10 to 12, zero 13 to 15, data 20. Region 3: zero 0 to 1, data the last. */
static int runs_file(enum snap_layout layout)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, layout);
	struct fail         why;

	for (unsigned i = 0; i < 2; i++) {
		page_batch_begin(batch, i ? 3 : 0);
		if (i) {
			add(0, 2, PAGE_ZERO);
			add(VRAM_PAGES - 1, 1, PAGE_DATA);
		} else {
			add(10, 3, PAGE_DATA);
			add(13, 3, PAGE_ZERO);
			add(20, 1, PAGE_DATA);
		}
		if (snap_writer_pages(w, batch, &why))
			DIE("pages: %s", why.what);
	}
	finish(w);
	return fd;
}

static void test_next(enum snap_layout layout)
{
	static const struct {
		const char *claim;
		uint32_t    region;
		uint64_t    page;
		uint32_t    to;      /* region; 99: there is none */
		uint64_t    first, count;
		enum page_kind kind;
	} cases[] = {
		{ "before the first run", 0, 0, 0, 10, 3, PAGE_DATA },
		{ "at a run's begin", 0, 10, 0, 10, 3, PAGE_DATA },
		{ "from the middle of a run of data", 0, 11, 0, 11, 2, PAGE_DATA },
		{ "from the middle of a run of zero pages", 0, 14, 0, 14, 2, PAGE_ZERO },
		{ "the next kind", 0, 13, 0, 13, 3, PAGE_ZERO },
		{ "over a gap", 0, 16, 0, 20, 1, PAGE_DATA },
		{ "into the next region", 0, 21, 3, 0, 2, PAGE_ZERO },
		{ "from a region that is not there", 1, 5, 3, 0, 2, PAGE_ZERO },
		{ "the last page", 3, 2, 3, VRAM_PAGES - 1, 1, PAGE_DATA },
		{ "the last page by its number", 3, VRAM_PAGES - 1, 3, VRAM_PAGES - 1, 1,
		  PAGE_DATA },
		{ "behind the last page", 3, VRAM_PAGES, 99, 0, 0, PAGE_DATA },
		{ "behind all pages", 3, UINT64_MAX, 99, 0, 0, PAGE_DATA },
		{ "behind all regions", LIMIT_REGIONS, 0, 99, 0, 0, PAGE_DATA },
	};
	int                fd = runs_file(layout);
	struct snap_image *s  = image_of(fd);
	struct fail        why;
	char               claim[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t       region = cases[i].region;
		uint64_t       page   = cases[i].page, count = 0;
		enum page_kind kind   = PAGE_PARENT;
		int            rc = snap_image_next(s, &region, &page, &count, &kind, &why);

		snprintf(claim, sizeof(claim), "%s: the next run: %s", snap_layout_name(layout),
			 cases[i].claim);
		ok(cases[i].to == 99 ? rc == 0
				     : rc == 1 && region == cases[i].to && page == cases[i].first &&
					       count == cases[i].count && kind == cases[i].kind,
		   claim);
	}
	snap_image_close(s);
	close(fd);
}

/* The second chunk of an index begins with a run that is before those of the first: who goes from
 * run to run would never come to an end. */
static void test_next_back(enum snap_layout layout)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, layout);
	struct snap_image  *s;
	struct fail         why;
	uint8_t            *f, *run;
	size_t              len, at;
	uint64_t            page = 0, count;
	uint32_t            region = 0, steps = 0;
	enum page_kind      kind;
	char                claim[128];
	int                 rc;

	page_batch_begin(batch, 0);
	for (uint64_t p = 0; p < RAM_PAGES + VRAM_PAGES; p++) {
		if (page_batch_full(batch) || p == RAM_PAGES) {
			if (snap_writer_pages(w, batch, &why))
				DIE("pages: %s", why.what);
			page_batch_begin(batch, p < RAM_PAGES ? 0 : 3);
		}
		add(p < RAM_PAGES ? p : p - RAM_PAGES, 1, p % 2 ? PAGE_ZERO : PAGE_DATA);
	}
	if (snap_writer_pages(w, batch, &why))
		DIE("pages: %s", why.what);
	finish(w);
	f   = bytes_of(fd, &len);
	at  = guest_next(f, guest_find(f, CHUNK_INDEX));
	run = f + at + CHUNK_HEADER_BYTES;
	if (get_le16(f + at + 4) != CHUNK_INDEX || get_le16(run) != 3)
		DIE("no second chunk of the index");
	put_le16(run, 0);
	guest_rehash(f, len);
	fd = memfd_of(f, len);
	s  = image_of(fd);
	while ((rc = snap_image_next(s, &region, &page, &count, &kind, &why)) > 0 &&
	       steps++ < 4 * RAM_PAGES)
		page += count;
	snprintf(claim, sizeof(claim), "%s: an index that leads back is refused",
		 snap_layout_name(layout));
	ok(rc == -1 && why.kind == FAIL_CORRUPT && why.at == at && strstr(why.what, "ascending") &&
	   steps == RAM_PAGES, claim);
	snap_image_close(s);
	close(fd);
	free(f);
}

static void test_next_none(void)
{
	uint8_t           *f;
	size_t             len = guest_small(&f, 0, SNAP_STATE_ONLY);
	int                fd  = memfd_of(f, len);
	struct snap_image *s   = image_of(fd);
	struct fail        why;
	uint32_t           region = 0;
	uint64_t           page = 0, count;
	enum page_kind     kind;

	ok(snap_image_next(s, &region, &page, &count, &kind, &why) == 0,
	   "a snapshot without memory has no run");
	snap_image_close(s);
	close(fd);
	free(f);
}

/* --- where memory is --- */

static void test_ram(void)
{
	int                fd = runs_file(SNAP_FLAT);
	struct snap_image *s  = image_of(fd);
	struct fail        why;
	uint64_t           ram_at, vram_at;
	uint8_t            page[4096];

	ok(snap_image_ram(s, 0, &ram_at, &why) == 0 && snap_image_ram(s, 3, &vram_at, &why) == 0 &&
	   ram_at == FLAT_ALIGN && vram_at == FLAT_ALIGN + RAM_PAGES * 4096ull,
	   "the regions begin at the first multiples of 2 MiB behind what is before");
	ok(pread(fd, page, 4096, (off_t)ram_at + 20 * 4096) == 4096 && page[7] == 1 + 20 % 9 &&
	   pread(fd, page, 4096, (off_t)vram_at + (VRAM_PAGES - 1) * 4096) == 4096 &&
	   page[7] == 1 + (VRAM_PAGES - 1) % 9, "their pages are there");
	ok(snap_image_ram(s, 1, &ram_at, &why) == -1 && why.kind == FAIL_USAGE &&
	   snap_image_ram(s, UINT32_MAX, &ram_at, &why) == -1 && why.kind == FAIL_USAGE,
	   "a region that is not there is nowhere");
	snap_image_close(s);
	close(fd);
	fd = runs_file(SNAP_CHUNKED);
	s  = image_of(fd);
	ok(snap_image_ram(s, 0, &ram_at, &why) == -1 && why.kind == FAIL_REFUSED &&
	   strstr(why.what, "parts.vms: the chunked layout cannot be mapped") &&
	   strstr(why.what, "convert --layout flat"), "a chunked file has no memory to be mapped");
	snap_image_close(s);
	close(fd);
}

/* --- images --- */

struct take {
	uint8_t  bytes[2][KERNEL_BYTES];
	size_t   len[2];
	unsigned lasts, left;      /* left: pieces until fn refuses */
};

static int take(void *arg, const struct image_piece *p, struct fail *why)
{
	struct take *t = arg;
	int          i = p->host->cls == HOST_INITRD;

	if (t->left-- == 0)
		return fail_set(why, FAIL_REFUSED, "enough");
	if (p->at != t->len[i] || p->len > KERNEL_BYTES - p->at)
		DIE("a piece at the wrong place");
	memcpy(t->bytes[i] + p->at, p->bytes, p->len);
	t->len[i] += p->len;
	t->lasts += p->last;
	return 0;
}

/* Kernel before memory, initrd behind it. */
static uint8_t *images_file(enum snap_layout layout, size_t *len)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, layout);
	struct fail         why;

	page_batch_begin(batch, 0);
	add(3, 1, PAGE_DATA);
	if (snap_writer_image(w, "kernel", kernel, sizeof(kernel), &why) ||
	    snap_writer_pages(w, batch, &why) ||
	    snap_writer_image(w, "initrd", initrd, sizeof(initrd), &why))
		DIE("images: %s", why.what);
	finish(w);
	return bytes_of(fd, len);
}

static int pieces_of(const uint8_t *f, size_t len, struct take *t, unsigned most, struct fail *why)
{
	int                fd = memfd_of(f, len), rc;
	struct snap_image *s  = image_of(fd);

	*t = (struct take){ .left = 0 };
	/* A second time it begins anew. */
	rc = snap_image_pieces(s, take, t, why);
	if (rc != -1 || why->kind != FAIL_REFUSED)
		DIE("pieces: not refused");
	*t = (struct take){ .left = most };
	rc = snap_image_pieces(s, take, t, why);
	snap_image_close(s);
	close(fd);
	return rc;
}

static void test_pieces(enum snap_layout layout)
{
	static struct take t;
	struct fail        why;
	uint8_t           *f;
	size_t             len, at;
	char               claim[128];

	f = images_file(layout, &len);
	snprintf(claim, sizeof(claim), "%s: the pieces of both images come, in their order",
		 snap_layout_name(layout));
	ok(pieces_of(f, len, &t, 99, &why) == 0 && t.lasts == 2 && t.len[0] == KERNEL_BYTES &&
	   t.len[1] == INITRD_BYTES && memcmp(t.bytes[0], kernel, KERNEL_BYTES) == 0 &&
	   memcmp(t.bytes[1], initrd, INITRD_BYTES) == 0, claim);
	snprintf(claim, sizeof(claim), "%s: what who takes them says is passed on",
		 snap_layout_name(layout));
	ok(pieces_of(f, len, &t, 3, &why) == -1 && why.kind == FAIL_REFUSED &&
	   strstr(why.what, "enough"), claim);
	at = guest_next(f, guest_find(f, CHUNK_BLOB));
	f[at + 9000] ^= 1;
	snprintf(claim, sizeof(claim), "%s: a damaged piece is found where it is",
		 snap_layout_name(layout));
	ok(pieces_of(f, len, &t, 99, &why) == -1 && why.kind == FAIL_CORRUPT && why.at == at &&
	   t.len[0] == IMAGE_PIECE_BYTES && strstr(why.what, "parts.vms: "), claim);
	f[at + 9000] ^= 1;
	while (get_le16(f + guest_next(f, at) + 4) == CHUNK_BLOB)
		at = guest_next(f, at);
	guest_remove(&f, &len, at);
	snprintf(claim, sizeof(claim), "%s: an image that lacks its last piece is refused",
		 snap_layout_name(layout));
	ok(pieces_of(f, len, &t, 99, &why) == -1 && why.kind == FAIL_CORRUPT &&
	   strstr(why.what, "truncated"), claim);
	free(f);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	for (int layout = SNAP_CHUNKED; layout <= SNAP_FLAT; layout++) {
		test_next((enum snap_layout)layout);
		test_next_back((enum snap_layout)layout);
		test_pieces((enum snap_layout)layout);
	}
	test_next_none();
	test_ram();
	free(batch);
	return done_testing();
}
