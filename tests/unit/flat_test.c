/* SPDX-License-Identifier: MIT */
/* The flat layout: what a writer leaves in the file, and what reading it costs. */
#include "format/snapshot/flat.h"
#include "format/tree/machine.h"
#include "libcommon/io.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- what is read --- */

static uint64_t preads, pread_bytes, stream_bytes;

int __real_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what,
		    struct fail *why);
int __wrap_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what,
		    struct fail *why);
int __wrap_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what, struct fail *why)
{
	preads++;
	pread_bytes += len;
	return __real_io_pread(fd, buf, len, at, what, why);
}

int __real_io_read_cancel(int fd, int cancel, void *buf, size_t len, size_t *got, const char *what,
			  struct fail *why);
int __wrap_io_read_cancel(int fd, int cancel, void *buf, size_t len, size_t *got, const char *what,
			  struct fail *why);
int __wrap_io_read_cancel(int fd, int cancel, void *buf, size_t len, size_t *got, const char *what,
			  struct fail *why)
{
	stream_bytes += len;
	return __real_io_read_cancel(fd, cancel, buf, len, got, what, why);
}

/* --- writing --- */

static struct snap_writer *writer(int fd, enum snap_layout layout, const void *tree, size_t len)
{
	const struct snap_writer_options o = { .layout = layout };
	struct snap_header               h = guest_header();
	struct snap_writer              *w;
	struct fail                      why;

	if (snap_writer_open(&w, fd, &h, &o, "test", &why) ||
	    snap_writer_config(w, tree, len, &why))
		DIE("writer: %s", why.what);
	return w;
}

static void send(struct snap_writer *w)
{
	struct fail why;

	if (snap_writer_pages(w, batch, &why))
		DIE("pages: %s", why.what);
}

static struct snap_digests finish(struct snap_writer *w)
{
	struct snap_digests digests;
	struct fail         why;

	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, &digests, &why))
		DIE("writer: %s", why.what);
	snap_writer_close(w);
	return digests;
}

/* The whole file as a stream: its memory digest, and how many chunks of a type. */
static struct snap_digests streamed(int fd, unsigned counts[CHUNK_HASHES + 1])
{
	struct snap_digests digests;
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	struct fail         why;
	uint64_t            at, last = 0;
	int                 rc;

	memset(counts, 0, (CHUNK_HASHES + 1) * sizeof(*counts));
	lseek(fd, 0, SEEK_SET);
	if (snap_stream_open(&s, fd, "test", &why))
		DIE("stream: %s", why.what);
	for (; (rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0; last = at)
		counts[c.type] += at > last;
	if (rc)
		DIE("stream: %s", why.what);
	digests = *snap_stream_digests(s);
	snap_stream_close(s);
	return digests;
}

/* --- pages in any order --- */

static struct model {
	uint32_t      id;
	uint64_t      n;
	uint8_t     (*bytes)[4096];
	unsigned char kind[RAM_PAGES];      /* 0: untouched */
} models[] = { { .id = 0, .n = RAM_PAGES }, { .id = 3, .n = VRAM_PAGES } };

static void model_page(struct model *m, uint64_t p)
{
	/* As data, and not looked at: zero in a third of them. */
	unsigned how  = (unsigned)(rng() % 6);
	uint8_t *slot = page_batch_slot(batch);

	if (how == 0) {
		page_batch_add_zero(batch, p);
		memset(m->bytes[p], 0, 4096);
	} else {
		memset(slot, 0, 4096);
		if (how > 2)
			put_le64(slot + rng() % 512 * 8, rng() | 1);
		memcpy(m->bytes[p], slot, 4096);
		page_batch_add_data(batch, p);
	}
	m->kind[p] = how > 2 ? PAGE_DATA : PAGE_ZERO;
}

/* Batches of ascending runs, here and there; most pages several times, a fifth never. */
static void model_write(struct snap_writer *w)
{
	for (unsigned i = 0; i < 500; i++) {
		struct model *m = &models[rng() % 2];
		uint64_t      p = rng() % m->n;

		page_batch_begin(batch, m->id);
		while (p < m->n && !page_batch_full(batch) && rng() % 40) {
			if (p % 5)
				model_page(m, p);
			p += rng() % 4 ? 1 : rng() % 30 + 1;
		}
		send(w);
	}
}

static struct snap_digests model_chunked(void)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, SNAP_CHUNKED, config, config_len);
	struct snap_digests digests;

	for (unsigned i = 0; i < 2; i++) {
		const struct model *m = &models[i];

		for (uint64_t p = 0; p < m->n; p++) {
			page_batch_begin(batch, m->id);
			if (!m->kind[p])
				continue;
			memcpy(page_batch_slot(batch), m->bytes[p], 4096);
			page_batch_add_slot(batch, p);
			send(w);
		}
	}
	digests = finish(w);
	close(fd);
	return digests;
}

static uint64_t model_count(unsigned kind)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 2; i++)
		for (uint64_t p = 0; p < models[i].n; p++)
			n += models[i].kind[p] == kind;
	return n;
}

/* Every run of the index, and the file's bytes where they belong. */
static void model_check(int fd)
{
	struct snap_image *s;
	struct fail        why;
	uint32_t           region = 0;
	uint64_t           page = 0, count, offset, named = 0;
	enum page_kind     kind;
	bool               runs = true, bytes = true;
	uint8_t            got[4096];
	int                rc;

	if (snap_image_open(&s, fd, "test", &why) || snap_image_index(s, &why))
		DIE("file: %s", why.what);
	while ((rc = snap_image_next(s, &region, &page, &count, &kind, &why)) > 0) {
		const struct model *m = &models[region ? 1 : 0];

		for (uint64_t p = page; p < page + count; p++)
			runs &= m->kind[p] == kind;
		named += count;
		page += count;
	}
	ok(rc == 0 && runs && named == model_count(PAGE_DATA) + model_count(PAGE_ZERO) &&
	   snap_image_pages(s, 0, PAGE_DATA) + snap_image_pages(s, 3, PAGE_DATA) ==
		   model_count(PAGE_DATA),
	   "the index has each page's last kind: data that are all zero are zero");
	for (unsigned i = 0; i < 2; i++) {
		if (snap_image_ram(s, models[i].id, &offset, &why))
			DIE("ram: %s", why.what);
		bytes &= offset % FLAT_ALIGN == 0;
		for (uint64_t p = 0; p < models[i].n; p++)
			bytes &= pread(fd, got, 4096, (off_t)(offset + p * 4096)) == 4096 &&
				 memcmp(got, models[i].bytes[p], 4096) == 0;
	}
	ok(bytes, "the file has of each page what was written last, at its place");
	snap_image_close(s);
}

static void test_any_order(void)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, SNAP_FLAT, config, config_len);
	struct snap_digests digests, chunked, read;
	unsigned            counts[CHUNK_HASHES + 1];
	struct stat         st;
	struct fail         why;

	for (unsigned i = 0; i < 2; i++)
		models[i].bytes = calloc(models[i].n, 4096);
	model_write(w);
	/* Other chunks between the pages, which have their place. */
	if (snap_writer_image(w, "kernel", kernel, sizeof(kernel), &why) ||
	    snap_writer_round_end(w, &why))
		DIE("image: %s", why.what);
	model_write(w);
	digests = finish(w);
	chunked = model_chunked();
	read    = streamed(fd, counts);
	ok(memcmp(&digests, &read, sizeof(digests)) == 0 &&
	   memcmp(digests.memory, chunked.memory, 16) == 0 &&
	   memcmp(digests.machine, chunked.machine, 16) == 0 &&
	   memcmp(digests.file, chunked.file, 16) != 0,
	   "pages in any order have the digests of memory and machine of the chunked layout");
	ok(counts[CHUNK_MAP] == 1 && counts[CHUNK_HASHES] == 1 && counts[CHUNK_ROUND_END] == 0 &&
	   counts[CHUNK_BLOB] == 3, "rounds leave nothing, and images go behind the memory");
	model_check(fd);
	if (fstat(fd, &st))
		DIE("stat");
	/* Tables, the image, and what the file system needs for the extents. */
	if (st.st_blksize > 4096)
		skip("blocks are allocated for data pages only", "large blocks");
	else
		ok((uint64_t)st.st_blocks * 512 <
			   (model_count(PAGE_DATA) + 128) * 4096 + sizeof(kernel),
		   "blocks are allocated for data pages only");
	note("%llu data pages, %llu blocks", (unsigned long long)model_count(PAGE_DATA),
	     (unsigned long long)st.st_blocks / 8);
	for (unsigned i = 0; i < 2; i++)
		free(models[i].bytes);
	close(fd);
}

/* --- a large region --- */

#define LARGE_PAGES  ((uint64_t)3 << 20)      /* 12 GiB */
#define LARGE_DENSE  9000u                    /* more than one HASHES chunk has */
#define LARGE_ALONE  2100u                    /* more runs than one INDEX chunk has */
#define LARGE_AT     ((uint64_t)2 << 20)      /* of the dense ones: behind 8 GiB */
#define LARGE_DATA   (LARGE_DENSE + LARGE_ALONE + 1)

/* Data page i of them, from the last to the first. */
static uint64_t large_page(uint64_t i)
{
	return i == 0 ? LARGE_PAGES - 1
	     : i <= LARGE_DENSE ? LARGE_AT + LARGE_DENSE - i : 5 * (LARGE_DATA - 1 - i);
}

static size_t large_config(uint8_t *tree)
{
	struct machine *m = malloc(sizeof(*m));
	struct fail     why;
	size_t          len;

	if (machine_read(m, config, config_len, &why))
		DIE("configuration: %s", why.what);
	m->regions[0].size = LARGE_PAGES * 4096;
	if (machine_write(m, tree, LIMIT_TREE_BYTES, &len, &why))
		DIE("configuration: %s", why.what);
	free(m);
	return len;
}

static struct snap_digests large_write(int fd, enum snap_layout layout)
{
	uint8_t            *tree = aligned_alloc(8, LIMIT_TREE_BYTES);
	struct snap_writer *w    = writer(fd, layout, tree, large_config(tree));

	for (uint64_t i = 0; i < LARGE_DATA; i++) {
		page_batch_begin(batch, 0);
		memset(page_batch_slot(batch), 0, 4096);
		put_le64(page_batch_slot(batch) + 8, i + 1);
		page_batch_add_slot(batch, large_page(i));
		send(w);
	}
	free(tree);
	return finish(w);
}

static int sparse_file(void)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC);

	if (fd < 0)
		DIE("memfd");
	return fd;
}

static void test_large(void)
{
	int                 fd = sparse_file(), other = sparse_file();
	struct snap_digests digests = large_write(fd, SNAP_FLAT), read;
	struct snap_digests chunked = large_write(other, SNAP_CHUNKED);
	unsigned            counts[CHUNK_HASHES + 1];
	struct snap_image  *s;
	struct fail         why;
	uint8_t             page[4096];
	enum page_kind      kind;
	uint64_t            before, most = 0;
	bool                right = true;

	close(other);
	stream_bytes = 0;
	read = streamed(fd, counts);
	ok(counts[CHUNK_HASHES] == 2 && counts[CHUNK_INDEX] == 2 &&
	   counts[CHUNK_INDEX_LEVEL] == 1 && memcmp(&read, &digests, sizeof(read)) == 0 &&
	   memcmp(digests.memory, chunked.memory, 16) == 0,
	   "two chunks of hashes and two of the index, in a region of more than 4 GiB");
	ok(stream_bytes < (uint64_t)128 << 20, "a stream passes over the holes of a file");
	note("%llu MiB read of %llu", (unsigned long long)stream_bytes >> 20,
	     (unsigned long long)lseek(fd, 0, SEEK_END) >> 20);
	preads = pread_bytes = 0;
	if (snap_image_open(&s, fd, "large", &why))
		DIE("large: %s", why.what);
	ok(preads < 24 && pread_bytes < 32 << 10,
	   "opening it reads header, trees, map, directory and end");
	note("%llu bytes in %llu reads", (unsigned long long)pread_bytes,
	     (unsigned long long)preads);
	for (uint64_t i = 0; i < LARGE_DATA; i++) {
		before = pread_bytes;
		right &= snap_image_page(s, 0, large_page(i), page, &kind, &why) == 0 &&
			 kind == PAGE_DATA && get_le64(page + 8) == i + 1;
		most = pread_bytes - before > most ? pread_bytes - before : most;
	}
	for (uint64_t p = 1; p < 5 * LARGE_ALONE; p += 5)
		right &= snap_image_page(s, 0, p, page, &kind, &why) == 0 && kind == PAGE_ZERO;
	ok(right, "every page is found and verified");
	/* The level, a chunk of the index, one of the hashes, the page. */
	ok(most < 3 * 65600 + 4096 + 64, "a page costs a chunk a table and itself");
	if (snap_image_index(s, &why))
		DIE("large: %s", why.what);
	ok(snap_image_pages(s, 0, PAGE_DATA) == LARGE_DATA &&
	   snap_image_pages(s, 0, PAGE_ZERO) == 0, "and the index is whole");
	snap_image_close(s);
	close(fd);
}

/* A hole up to the end of the file, of the size that its map claims: no time is spent on it. */
static void test_endless_hole(void)
{
	uint8_t            *tree = aligned_alloc(8, LIMIT_TREE_BYTES);
	int                 fd   = sparse_file();
	struct snap_writer *w    = writer(fd, SNAP_FLAT, tree, large_config(tree));
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	struct fail         why;
	uint64_t            at;
	off_t               cut = (off_t)(LARGE_PAGES - 1) * 4096;
	int                 rc;

	finish(w);
	free(tree);
	if (ftruncate(fd, cut))
		DIE("truncate");
	stream_bytes = 0;
	lseek(fd, 0, SEEK_SET);
	if (snap_stream_open(&s, fd, "hole", &why))
		DIE("stream: %s", why.what);
	while ((rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0)
		;
	ok(rc < 0 && why.kind == FAIL_CORRUPT && strstr(why.what, "unexpected end") &&
	   why.at == (uint64_t)cut && stream_bytes < 1 << 20,
	   "a hole to the end of a file that was cut off is passed over, too");
	note("%s at %llu, %llu bytes read", why.what, (unsigned long long)why.at,
	     (unsigned long long)stream_bytes);
	snap_stream_close(s);
	close(fd);
}

/* --- what a writer refuses --- */

static bool open_refused(int fd, int level, uint64_t required, const char *with)
{
	const struct snap_writer_options o = { .layout = SNAP_FLAT, .level = level };
	struct snap_header               h = guest_header();
	struct snap_writer              *w;
	struct fail                      why;
	bool                             good;

	h.required = required;
	good       = snap_writer_open(&w, fd, &h, &o, "out.vms", &why) == -1 &&
	       why.kind == FAIL_USAGE && strstr(why.what, with) && strstr(why.what, "out.vms");
	close(fd);
	return good;
}

static void test_refusals(void)
{
	int                 fd = temp_file();
	struct snap_writer *w;
	struct fail         why;

	ok(open_refused(temp_file(), 3, 0, "not compressed"), "a flat file has no level");
	ok(open_refused(temp_file(), 0, SNAP_STATE_ONLY, "with memory"),
	   "nor is it without memory");
	if (write(fd, "before", 6) != 6)
		DIE("write");
	ok(open_refused(dup(fd), 0, 0, "new regular file"), "nor behind something else");
	lseek(fd, 0, SEEK_SET);
	ok(open_refused(fd, 0, 0, "not empty"), "nor over it");
	fd = temp_file();
	fcntl(fd, F_SETFL, O_APPEND);
	ok(open_refused(fd, 0, 0, "new regular file"), "nor where every write appends");

	for (unsigned i = 0; i < 3; i++) {
		static const char *const claims[] = { "pages behind the region's end are refused",
						      "pages of no region are refused",
						      "pages behind the state are refused" };

		fd = temp_file();
		w  = writer(fd, SNAP_FLAT, config, config_len);
		page_batch_begin(batch, i == 1 ? 5 : 3);
		memset(page_batch_slot(batch), 1, 4096);
		page_batch_add_slot(batch, i == 0 ? VRAM_PAGES : 0);
		if (i == 2 && snap_writer_state(w, state, state_len, &why))
			DIE("state: %s", why.what);
		ok(snap_writer_pages(w, batch, &why) == -1 &&
		   why.kind == (i == 2 ? FAIL_USAGE : FAIL_CORRUPT), claims[i]);
		snap_writer_close(w);
		close(fd);
	}
}

/* Nothing was written: no hash table, an index without runs, and the memory is one hole. */
static void test_untouched(void)
{
	int                 fd = temp_file();
	struct snap_writer *w  = writer(fd, SNAP_FLAT, config, config_len);
	struct snap_digests digests = finish(w), read;
	unsigned            counts[CHUNK_HASHES + 1];
	struct snap_image  *s;
	struct fail         why;
	uint8_t             page[4096];
	enum page_kind      kind;
	struct stat         st;

	read = streamed(fd, counts);
	if (snap_image_open(&s, fd, "untouched", &why) || fstat(fd, &st))
		DIE("untouched: %s", why.what);
	ok(memcmp(&read, &digests, sizeof(read)) == 0 && counts[CHUNK_HASHES] == 0 &&
	   counts[CHUNK_INDEX] == 1 && snap_image_index(s, &why) == 0 &&
	   snap_image_page(s, 3, 5, page, &kind, &why) == 0 && kind == PAGE_ZERO &&
	   (uint64_t)st.st_blocks * 512 < 256 << 10,
	   "a snapshot that names no page has a map and a hole");
	snap_image_close(s);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_any_order();
	test_large();
	test_endless_hole();
	test_refusals();
	test_untouched();
	free(batch);
	return done_testing();
}
