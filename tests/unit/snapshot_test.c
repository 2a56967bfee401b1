/* SPDX-License-Identifier: MIT */
/* Snapshots written to files and pipes and read back. */
#include "tests/unit/sample.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Reads a whole stream; 0 and a filled RAM image (when asked), or -1. */
static int read_all(int fd, uint8_t (*out)[4096], struct snap_digests *digests, uint64_t counts[2],
		    struct fail *why)
{
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	int                 rc;

	if (snap_stream_open(&s, fd, "test", why))
		return -1;
	while ((rc = snap_stream_next(s, &c, &payload, &at, why)) > 0) {
		const struct page_batch *b = snap_stream_batch(s);
		uint32_t                 slot = 0;

		if (c.type != CHUNK_MAP && (b != NULL) != (c.type == CHUNK_PAGES))
			DIE("a batch without pages");
		for (uint32_t i = 0; b && out && b->region == 0 && i < b->nruns; i++)
			for (uint32_t k = 0; k < b->runs[i].count; k++) {
				uint8_t *to = out[b->runs[i].first + k];

				if (b->runs[i].kind == PAGE_DATA)
					memcpy(to, b->pages + (size_t)slot++ * 4096, 4096);
				else
					memset(to, 0, 4096);
			}
	}
	if (rc == 0 && digests)
		*digests = *snap_stream_digests(s);
	if (rc == 0 && counts) {
		counts[0] = snap_stream_pages(s, 0, PAGE_DATA);
		counts[1] = snap_stream_pages(s, 0, PAGE_ZERO);
	}
	snap_stream_close(s);
	return rc;
}

static void test_round_trips(void)
{
	static const int levels[] = { 0, 1, 3, -1, 7, GUEST_FLAT };
	struct snap_digests written, read, first = { 0 };
	uint8_t          (*got)[4096] = calloc(RAM_PAGES, 4096);
	uint64_t         counts[2], data = 0, zero = 0;
	struct fail      why;
	bool             same = true, named = true, right = true, counted = true;

	for (unsigned p = 0; p < RAM_PAGES; p++) {
		bool z = page_is_zero(ram[p], 4096);

		data += ram_touched[p] && !z;
		zero += ram_touched[p] && z;
	}
	for (unsigned i = 0; i < 12; i++) {
		int fd = temp_file();

		guest_write(fd, levels[i % 6], (int)(i + i / 6) % 3, &written);
		memset(got, 0, RAM_PAGES * 4096ull);
		if (read_all(fd, got, &read, counts, &why))
			DIE("level %d: %s at %llu", levels[i % 6], why.what,
			    (unsigned long long)why.at);
		if (i == 0)
			first = written;
		same &= memcmp(first.memory, written.memory, 16) == 0 &&
			memcmp(first.machine, written.machine, 16) == 0;
		named &= memcmp(&written, &read, sizeof(read)) == 0 &&
			 (i == 0 || memcmp(first.file, written.file, 16) != 0);
		right &= memcmp(got, ram, sizeof(ram)) == 0;
		counted &= counts[0] == data && counts[1] == zero;
		close(fd);
	}
	ok(right, "a snapshot reads back page for page, at every level and flat, with superseded "
	   "pages");
	ok(same, "the digests of memory and machine are the same at every level, order and layout");
	ok(named, "that of the file is not; the reader computes what the writer gave");
	ok(counted, "the final pages of a kind are counted");
	free(got);
}

/* --- pipes --- */

struct pump { int fd; struct snap_digests digests; };

static void *pump_write(void *arg)
{
	const struct snap_writer_options o = { .level = 1 };
	struct pump        *p = arg;
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;

	if (snap_writer_open(&w, p->fd, &h, &o, "pipe", &why) ||
	    snap_writer_config(w, config, config_len, &why))
		DIE("pipe: %s", why.what);
	guest_send(w, 0, 0, RAM_PAGES, false);
	guest_send(w, 3, 0, VRAM_PAGES, false);
	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, &p->digests, &why))
		DIE("pipe: %s", why.what);
	snap_writer_close(w);
	close(p->fd);
	return NULL;
}

static void test_pipe(void)
{
	struct pump pump;
	pthread_t   thread;
	struct snap_digests digests, from_file;
	int         ends[2], fd = temp_file();
	struct fail why;

	if (pipe2(ends, O_CLOEXEC))
		DIE("pipe");
	pump.fd = ends[1];
	pthread_create(&thread, NULL, pump_write, &pump);
	int rc = read_all(ends[0], NULL, &digests, NULL, &why);
	pthread_join(thread, NULL);
	close(ends[0]);
	guest_write(fd, 0, 0, &from_file);
	close(fd);
	ok(rc == 0 && memcmp(&digests, &pump.digests, sizeof(digests)) == 0 &&
		   memcmp(digests.memory, from_file.memory, 16) == 0,
	   "a pipe carries the same content, and is complete by its end although its header says "
	   "incomplete");
}

static void *pump_file(void *arg)
{
	struct pump *p = arg;
	char         buf[65536];
	ssize_t      n;
	int          file = temp_file();

	guest_write(file, GUEST_FLAT, 1, &p->digests);
	while ((n = read(file, buf, sizeof(buf))) > 0)
		if (write(p->fd, buf, (size_t)n) != n)
			DIE("write");
	close(file);
	close(p->fd);
	return NULL;
}

/* A flat snapshot cannot be written to a pipe, but comes through one. */
static void test_flat_pipe(void)
{
	const struct snap_writer_options o = { .layout = SNAP_FLAT };
	uint8_t          (*got)[4096] = calloc(RAM_PAGES, 4096);
	struct snap_header  h = guest_header();
	struct snap_digests digests;
	struct snap_writer *w;
	struct pump         pump;
	struct fail         why;
	pthread_t           thread;
	int                 ends[2];

	if (pipe2(ends, O_CLOEXEC))
		DIE("pipe");
	ok(snap_writer_open(&w, ends[1], &h, &o, "pipe", &why) == -1 && why.kind == FAIL_USAGE &&
	   strstr(why.what, "new regular file"), "the flat layout cannot be written to a pipe");
	pump.fd = ends[1];
	pthread_create(&thread, NULL, pump_file, &pump);
	int rc = read_all(ends[0], got, &digests, NULL, &why);
	pthread_join(thread, NULL);
	ok(rc == 0 && memcmp(&digests, &pump.digests, sizeof(digests)) == 0 &&
	   memcmp(got, ram, sizeof(ram)) == 0, "but a file of it is read through one");
	close(ends[0]);
	free(got);
}

/* Whoever wrote END may keep the pipe open, or write something else behind it. */
static void test_pipe_stays_open(void)
{
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at, one = 1;
	uint8_t            *f, next = 0;
	size_t              len = guest_small(&f, 0, 0);
	struct fail         why;
	int                 ends[2], cancel, rc;

	if (len > 65536 - 1 || pipe2(ends, O_CLOEXEC) || write(ends[1], f, len) != (ssize_t)len)
		DIE("pipe");
	alarm(20);
	ok(read_all(ends[0], NULL, NULL, NULL, &why) == 0,
	   "END ends a stream from a pipe that stays open");
	if (write(ends[1], f, len) != (ssize_t)len || write(ends[1], "!", 1) != 1)
		DIE("pipe");
	ok(read_all(ends[0], NULL, NULL, NULL, &why) == 0 && read(ends[0], &next, 1) == 1 &&
	   next == '!',
	   "what is behind END in a pipe is left there");

	cancel = eventfd(0, EFD_CLOEXEC);
	if (cancel < 0 || write(ends[1], f, len / 2) != (ssize_t)len / 2)
		DIE("pipe");
	if (snap_stream_open(&s, ends[0], "stalled", &why))
		DIE("open: %s", why.what);
	snap_stream_cancel(s, cancel);
	while (at = 0, write(cancel, &one, sizeof(one)) == sizeof(one) &&
	       (rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0)
		;
	ok(rc < 0 && why.kind == FAIL_ENDED,
	   "reading from a pipe that has stalled can be given up");
	alarm(0);
	snap_stream_close(s);
	close(cancel);
	close(ends[0]);
	close(ends[1]);
	free(f);
}

static void test_header_flag(void)
{
	struct snap_digests digests;
	uint8_t            raw[SNAP_HEADER_BYTES];
	struct snap_header h;
	struct fail        why;
	int                fd = temp_file();

	guest_write(fd, 0, 0, &digests);
	bool file = pread(fd, raw, sizeof(raw), 0) == sizeof(raw) &&
		    snap_header_get(&h, raw, &why) == 0 && !h.incomplete &&
		    strcmp(h.name, "unit") == 0 && strcmp(h.creator, "snapshot_test") == 0 &&
		    h.arch == 243 && h.vm.b[3] == 0x11;
	ok(file, "a file's header is complete and says who, what and when");
	ok((fcntl(fd, F_GETFL) & O_DIRECT) == 0, "the writer gives the descriptor its flags back");
	close(fd);

	/* Appended behind something else: the head is not ours to replace, END still proves all. */
	fd = temp_file();
	if (write(fd, "before", 6) != 6)
		DIE("write");
	struct pump p = { .fd = dup(fd) };
	pump_write(&p);
	lseek(fd, 6, SEEK_SET);
	int rc = read_all(fd, NULL, &digests, NULL, &why);
	char head[6];
	ok(rc == 0 && pread(fd, head, 6, 0) == 6 && memcmp(head, "before", 6) == 0,
	   "a snapshot that begins within a file leaves what is before it alone");
	close(fd);

	fd = temp_file();
	if (write(fd, "before", 6) != 6)
		DIE("write");
	lseek(fd, 0, SEEK_SET);
	struct snap_writer *w;
	h = guest_header();
	rc = snap_writer_open(&w, fd, &h, NULL, "full.vms", &why);
	ok(rc && why.kind == FAIL_USAGE, "a file that is not empty is not written over");
	close(fd);
}

static void test_order(void)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;
	struct snap_digests digests;
	int                 fd = temp_file();

	if (snap_writer_open(&w, fd, &h, NULL, "order", &why))
		DIE("order: %s", why.what);
	page_batch_begin(batch, 0);
	page_batch_add_zero(batch, 1);
	bool early = snap_writer_pages(w, batch, &why) == -1 &&
		     snap_writer_end(w, &digests, &why) == -1;
	bool config_ok = snap_writer_config(w, config, config_len, &why) == 0;
	page_batch_begin(batch, 0);
	page_batch_add_zero(batch, RAM_PAGES);
	bool outside = snap_writer_pages(w, batch, &why) == -1;
	bool after = snap_writer_state(w, state, state_len, &why) == -1;
	ok(early && config_ok && outside && after,
	   "the writer refuses parts out of order, pages outside, and everything after a failure");
	snap_writer_close(w);
	close(fd);
}

/* Writes the guest's RAM from the offset of fd on. expected: as snap_writer_expect, NULL for none;
 * returns the bytes written before the state, 0 when that was refused. */
static uint64_t write_aligned(int fd, bool align, const struct snap_digests *expected,
			      struct snap_digests *out, struct fail *why)
{
	const struct snap_writer_options o = { .align = align };
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	uint64_t            bytes;

	if (snap_writer_open(&w, fd, &h, &o, "aligned", why) ||
	    snap_writer_config(w, config, config_len, why))
		DIE("aligned: %s", why->what);
	guest_send(w, 0, 0, RAM_PAGES, false);
	if (snap_writer_round_end(w, why))
		DIE("aligned: %s", why->what);
	if (expected)
		snap_writer_expect(w, expected);
	bytes = snap_writer_bytes(w);
	if (snap_writer_state(w, state, state_len, why) || snap_writer_end(w, out, why))
		bytes = bytes == snap_writer_bytes(w) ? 0 : bytes;
	snap_writer_close(w);
	return bytes;
}

static bool same_bytes(int a, uint64_t a_at, int b, uint64_t b_at)
{
	static uint8_t x[65536], y[65536];

	for (ssize_t n = 1, m; n > 0; a_at += (uint64_t)n, b_at += (uint64_t)n) {
		n = pread(a, x, sizeof(x), (off_t)a_at);
		m = pread(b, y, sizeof(y), (off_t)b_at);
		if (n < 0 || n != m || memcmp(x, y, (size_t)n))
			return false;
	}
	return true;
}

static void test_rewriting(void)
{
	struct snap_digests digests, read, other;
	struct fail         why;
	int                 file = temp_file(), within = temp_file(), packed = temp_file();

	write_aligned(file, false, NULL, &digests, &why);
	if (write(within, "before", 6) != 6 || write(packed, "before", 6) != 6)
		DIE("write");
	write_aligned(within, true, NULL, &read, &why);
	write_aligned(packed, false, NULL, &other, &why);
	ok(same_bytes(file, SNAP_HEADER_BYTES, within, 6 + SNAP_HEADER_BYTES) &&
		   !memcmp(&read, &digests, sizeof(read)) &&
		   !same_bytes(file, SNAP_HEADER_BYTES, packed, 6 + SNAP_HEADER_BYTES),
	   "what is not a file of its own gets the same bytes as one if it is asked to be aligned");
	close(within);
	close(packed);

	within = temp_file();
	ok(write_aligned(within, false, &digests, &read, &why) > 0 &&
		   same_bytes(file, 0, within, 0),
	   "a writer that expects the digests that come writes the same");
	close(within);
	bool refused = true;

	for (int i = 0; i < 2; i++) {
		within = temp_file();
		other  = digests;
		(i ? other.machine : other.memory)[15] ^= 1;
		refused &= write_aligned(within, false, &other, &read, &why) == 0 &&
			   why.kind == FAIL_CORRUPT;
		close(within);
	}
	ok(refused, "one that expects another memory or machine digest writes neither state nor "
		    "END");
	close(file);
}

static void test_disk_full(void)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why = { 0 };
	struct snap_digests digests;
	int                 fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	int rc = snap_writer_open(&w, fd, &h, NULL, "full.vms", &why);
	if (rc == 0) {
		rc = snap_writer_config(w, config, config_len, &why) ||
		     snap_writer_state(w, state, state_len, &why) ||
		     snap_writer_end(w, &digests, &why);
		snap_writer_close(w);
	}
	ok(rc && why.kind == FAIL_SYSTEM && why.sys == ENOSPC && strstr(why.what, "full.vms"),
	   "a full disk is said so");
	close(fd);
}

/* --- a state of more than one piece: the largest machine --- */

static size_t (*two_cpus)(void *arg, uint32_t cpu, struct state_section *out, size_t max);

static size_t many_cpus(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	size_t n = two_cpus(arg, cpu % SAMPLE_HARTS, out, max);

	for (size_t i = 0; i < n; i++)
		if (out[i].table == &x86_xsave_state_table)
			((struct x86_xsave_state *)out[i].s)->area_len = X86_XSAVE_MAX;
	return n;
}

/* Its state as a stream gives it: only once it is whole; pieces: how many there are. */
static bool state_comes(int fd, const struct hostkey *k, const uint8_t *tree, size_t len,
			unsigned *pieces)
{
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload, *got = NULL;
	struct fail         why;
	uint64_t            at;
	size_t              n, have = 0;
	bool                early = false, same, auth;
	int                 rc;

	*pieces = 0;
	lseek(fd, 0, SEEK_SET);
	if (snap_stream_open(&s, fd, "pieces", &why))
		DIE("pieces: %s", why.what);
	snap_stream_key(s, k);
	while ((rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0) {
		if (c.type != CHUNK_STATE)
			continue;
		++*pieces;
		have += c.len - STATE_PIECE_HEAD;
		early |= (snap_stream_state(s, &n) != NULL) != (have == len);
	}
	got  = snap_stream_state(s, &n);
	same = rc == 0 && got && n == len && memcmp(got, tree, len) == 0;
	auth = snap_stream_auth_config(s) == SNAP_AUTH_OK &&
	       snap_stream_auth_all(s) == SNAP_AUTH_OK;
	snap_stream_close(s);
	return same && auth && !early;
}

static void test_state_pieces(void)
{
	static const struct hostkey key  = { { 1, 2, 3 } };
	struct sample              *big  = sample_make_x86(SAMPLE_RAM);
	uint8_t                    *tree = aligned_alloc(8, LIMIT_STATE_BYTES), *f;
	struct snap_header          h    = guest_header();
	struct snap_digests         digests;
	struct snap_writer         *w;
	struct snap_image          *image;
	struct fail                 why;
	const uint8_t              *got;
	size_t                      len, clen, n, at;
	unsigned                    pieces;
	int                         fd = temp_file();

	h.arch = 62;
	h.vm   = big->m.uuid;
	strcpy(h.name, big->m.name);
	h.required                 = SNAP_STATE_ONLY;
	big->m.ncpus               = LIMIT_CPUS_X86;
	big->m.xsave_bytes         = X86_XSAVE_MAX;
	two_cpus                   = big->sections.cpu_sections;
	big->sections.cpu_sections = many_cpus;
	if (machine_write(&big->m, tree, LIMIT_STATE_BYTES, &clen, &why) ||
	    snap_writer_open(&w, fd, &h, NULL, "pieces", &why))
		DIE("pieces: %s", why.what);
	snap_writer_key(w, &key);
	if (snap_writer_config(w, tree, clen, &why) ||
	    machine_write_state(&big->m, &big->sections, tree, LIMIT_STATE_BYTES, &len, &why) ||
	    snap_writer_state(w, tree, len, &why))
		DIE("pieces: %s", why.what);
	ok(snap_writer_state(w, tree, len, &why) == -1 && why.kind == FAIL_USAGE,
	   "a second state is refused");
	if (snap_writer_end(w, &digests, &why))
		DIE("pieces: %s", why.what);
	snap_writer_close(w);
	ok(state_comes(fd, &key, tree, len, &pieces) &&
	   pieces == (len + STATE_PIECE_BYTES - 1) / STATE_PIECE_BYTES && pieces > 1,
	   "the state of 128 CPUs comes in pieces of 1 MiB, under one MAC");
	printf("# %zu bytes in %u pieces\n", len, pieces);
	ok(snap_image_open(&image, fd, "pieces", &why) == 0 &&
	   (got = snap_image_state(image, &n)) != NULL && n == len && !memcmp(got, tree, len),
	   "and a file has the whole");
	snap_image_close(image);
	/* A flip in the last piece. */
	len = (size_t)lseek(fd, 0, SEEK_END);
	f   = malloc(len);
	if (pread(fd, f, len, 0) != (ssize_t)len)
		DIE("pieces: read");
	for (at = guest_find(f, CHUNK_STATE); get_le16(f + guest_next(f, at) + 4) == CHUNK_STATE;)
		at = guest_next(f, at);
	f[at + 5000] ^= 1;
	close(fd);
	fd = memfd_of(f, len);
	ok(snap_image_open(&image, fd, "pieces", &why) == -1 && why.at == at,
	   "damage of a piece is found where it is");
	close(fd);
	free(f);
	free(tree);
	free(big);
}

/* A region with more leaves than one DIGESTS chunk holds: a page in each. */
static void test_many_leaves(void)
{
	const struct snap_writer_options o = { .level = 1, .threads = 2 };
	struct chunk        pad    = chunk_of(CHUNK_PAD, 0, 0);
	const uint64_t      leaves = DIGESTS_LEAVES + 3, npages = (leaves + 5) * 512;
	struct machine     *m      = malloc(sizeof(*m));
	uint8_t            *tree   = aligned_alloc(8, LIMIT_TREE_BYTES), *f;
	struct snap_header  h      = guest_header();
	struct snap_digests written, seen;
	struct snap_writer *w;
	struct fail         why;
	size_t              len, at, flen;
	int                 fd = temp_file();

	if (machine_read(m, config, config_len, &why))
		DIE("leaves: %s", why.what);
	m->nregions        = 1;
	m->regions[0].size = npages * 4096;
	if (machine_write(m, tree, LIMIT_TREE_BYTES, &len, &why) ||
	    snap_writer_open(&w, fd, &h, &o, "leaves", &why) ||
	    snap_writer_config(w, tree, len, &why))
		DIE("leaves: %s", why.what);
	page_batch_begin(batch, 0);
	for (uint64_t i = 0; i < leaves; i++) {
		if (page_batch_full(batch)) {
			if (snap_writer_pages(w, batch, &why))
				DIE("leaves: %s", why.what);
			page_batch_begin(batch, 0);
		}
		memset(page_batch_slot(batch), 1 + (int)(i % 250), 4096);
		page_batch_add_slot(batch, (i + 2) * 512 + i % 512);
	}
	if (snap_writer_pages(w, batch, &why) || snap_writer_state(w, state, state_len, &why) ||
	    snap_writer_end(w, &written, &why))
		DIE("leaves: %s", why.what);
	snap_writer_close(w);
	lseek(fd, 0, SEEK_SET);
	flen = (size_t)lseek(fd, 0, SEEK_END);
	f    = malloc(flen);
	if (pread(fd, f, flen, 0) != (ssize_t)flen)
		DIE("leaves: read");
	close(fd);
	at = guest_find(f, CHUNK_DIGESTS);
	fd = memfd_of(f, flen);
	ok(read_all(fd, NULL, &seen, NULL, &why) == 0 &&
	   memcmp(&seen, &written, sizeof(seen)) == 0 &&
	   get_le32(f + at + 20) == 32 + 2720 * 24 &&
	   get_le32(f + guest_next(f, at) + 20) == 32 + 3 * 24,
	   "2723 leaves of one region are two chunks of digests");
	close(fd);
	guest_insert(&f, &flen, guest_next(f, at), &pad, "");
	fd = memfd_of(f, flen);
	ok(read_all(fd, NULL, NULL, NULL, &why) == -1 && why.at == guest_next(f, at) &&
	   strstr(why.what, "unexpected"), "between them nothing may come");
	close(fd);
	free(f);
	free(tree);
	free(m);
}

/* The writer ends the last round by itself. */
static void test_round_ends(void)
{
	struct snap_header  h = guest_header();
	struct snap_digests digests;
	struct snap_writer *w;
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	struct fail         why;
	uint64_t            at;
	unsigned            ends = 0;
	bool                right = true;
	int                 fd = temp_file(), rc;

	if (snap_writer_open(&w, fd, &h, NULL, "rounds", &why) ||
	    snap_writer_config(w, config, config_len, &why) ||
	    snap_writer_round_end(w, &why))
		DIE("rounds: %s", why.what);
	for (unsigned r = 0; r < 3; r++) {
		for (unsigned i = 0; i <= r; i++) {
			page_batch_begin(batch, 0);
			page_batch_add_zero(batch, 10 * i);
			memset(page_batch_slot(batch), 7, 4096);
			page_batch_add_slot(batch, 10 * i + 1);
			if (snap_writer_pages(w, batch, &why))
				DIE("rounds: %s", why.what);
		}
		if (r < 2 && (snap_writer_round_end(w, &why) || snap_writer_round_end(w, &why)))
			DIE("rounds: %s", why.what);
	}
	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, &digests, &why))
		DIE("rounds: %s", why.what);
	snap_writer_close(w);
	lseek(fd, 0, SEEK_SET);
	if (snap_stream_open(&s, fd, "rounds", &why))
		DIE("rounds: %s", why.what);
	while ((rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0) {
		right &= (c.type != CHUNK_PAGES && c.type != CHUNK_ROUND_END) || c.round == ends;
		if (c.type != CHUNK_ROUND_END)
			continue;
		right &= get_le64(payload) == 2 * (ends + 1) && get_le64(payload + 8) == ends + 1;
		ends++;
	}
	ok(rc == 0 && right && ends == 3,
	   "rounds are counted from 0, empty ones left out, the last one is ended by the state");
	snap_stream_close(s);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_round_trips();
	test_pipe();
	test_flat_pipe();
	test_pipe_stays_open();
	test_header_flag();
	test_order();
	test_rewriting();
	test_disk_full();
	test_state_pieces();
	test_many_leaves();
	test_round_ends();
	free(batch);
	return done_testing();
}
