/* SPDX-License-Identifier: MIT */
/* Snapshots written to files and pipes and read back. */
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

		if ((b != NULL) != (c.type == CHUNK_PAGES))
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
	static const int levels[] = { 0, 1, 3, -1, 7 };
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
	for (unsigned i = 0; i < 9; i++) {
		int fd = temp_file();

		guest_write(fd, levels[i % 5], (int)i % 3, &written);
		memset(got, 0, RAM_PAGES * 4096ull);
		if (read_all(fd, got, &read, counts, &why))
			DIE("level %d: %s at %llu", levels[i % 5], why.what,
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
	ok(right, "a snapshot reads back page for page, at every level, with superseded pages");
	ok(same, "the digests of memory and machine are the same at every level and order");
	ok(named, "that of the file is not; the reader computes what the writer gave");
	ok(counted, "the final pages of a kind are counted");
	free(got);
}

struct pump { int fd; struct snap_digests digests; };

static void *pump_write(void *arg)
{
	struct pump        *p = arg;
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;

	if (snap_writer_open(&w, p->fd, &h, 1, "pipe", &why) ||
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
	rc = snap_writer_open(&w, fd, &h, 0, "full.vms", &why);
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

	if (snap_writer_open(&w, fd, &h, 0, "order", &why))
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

static void test_disk_full(void)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why = { 0 };
	struct snap_digests digests;
	int                 fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	int rc = snap_writer_open(&w, fd, &h, 0, "full.vms", &why);
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

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_round_trips();
	test_pipe();
	test_pipe_stays_open();
	test_header_flag();
	test_order();
	test_disk_full();
	free(batch);
	return done_testing();
}
