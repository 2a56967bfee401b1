/* SPDX-License-Identifier: MIT */
/* Guest memory: one door, whose end marks; a mark before the write loses a page, a mark after it
 * does not. */
#include "tests/unit/tap.h"

#include "vmrun/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
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

static void present_run(void *arg, uint64_t first, uint64_t count)
{
	bitmap_set_range(arg, first, count);
}

/* Of the first region, of 64 pages; of no use after a failure. */
static uint64_t present_map(struct memory *m)
{
	uint64_t    map = 0;
	struct fail why;

	if (region_present(m, &m->regions[0], present_run, &map, &why))
		abort();
	return map;
}

static void present(void)
{
	struct memory  m;
	struct machine cfg = { .nregions = 1, .regions = { ram } };
	struct fail    why;
	bool           good = memory_open(&m, &cfg, &why) == 0 &&
			      present_map(&m) == 0;

	ok(good, "a new region has no page present");
	m.regions[0].host[5 * GUEST_PAGE] = 1;
	(void)!pwrite(m.regions[0].fd, "x", 1, 63 * GUEST_PAGE);
	ok(present_map(&m) == ((uint64_t)1 << 5 | (uint64_t)1 << 63),
	   "pages touched or written are present, no others");
	memory_close(&m);
}

/* ---- a region that is a private mapping of a file ---- */

#define FILE_AT ((uint64_t)2 << 20)

/* Data in pages 0, 3 and 4, the rest a hole; each begins with its number + 1. */
static int file_make(char path[])
{
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, (off_t)(FILE_AT + ram.size)))
		abort();
	for (uint8_t page = 0; page < 5; page = page ? (uint8_t)(page + 1) : 3) {
		uint8_t bytes[GUEST_PAGE] = { (uint8_t)(page + 1) };

		if (pwrite(fd, bytes, sizeof(bytes), (off_t)(FILE_AT + page * GUEST_PAGE)) !=
		    GUEST_PAGE)
			abort();
	}
	return fd;
}

/* What a lease's holder does. */
static int file_read(const struct region *r, uint64_t page, uint8_t *byte)
{
	int     fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ssize_t n  = pread(fd, byte, 1, (off_t)((uintptr_t)r->host + page * GUEST_PAGE));

	close(fd);
	return n == 1 ? 0 : -1;
}

/* A kernel without PAGEMAP_SCAN. */
static bool kernel_is_old;

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	if (!kernel_is_old)
		return __real_ioctl(fd, request, arg);
	errno = ENOTTY;
	return -1;
}

/* By both ways of asking, as the kernel here may have one only. */
static bool file_present_is(struct memory *m, uint64_t want)
{
	bool same = true;

	for (int old = 0; old < 2; old++) {
		kernel_is_old = old;
		same &= present_map(m) == want;
	}
	kernel_is_old = false;
	return same;
}

static void file_pages(struct memory *m, struct memory *n, int fd)
{
	struct region *r = &m->regions[0], *other = &n->regions[0];
	struct fail    why;
	uint8_t        byte = 0, stored = 0;

	ok(file_present_is(m, 0x19), "present are the pages with data in the file");
	r->host[3 * GUEST_PAGE] = 77;
	r->host[9 * GUEST_PAGE] = 78;
	(void)*(volatile uint8_t *)&r->host[11 * GUEST_PAGE];
	ok(file_present_is(m, 0x19 | 1 << 9),
	   "and those that were written, not those that were read");
	ok(file_read(r, 9, &byte) == 0 && byte == 78 && file_read(r, 4, &byte) == 0 && byte == 5,
	   "a reader of /proc/self/mem sees both");
	ok(pread(fd, &stored, 1, (off_t)(FILE_AT + 3 * GUEST_PAGE)) == 1 && stored == 4 &&
	   other->host[3 * GUEST_PAGE] == 4 && other->host[9 * GUEST_PAGE] == 0,
	   "neither the file nor another mapping of it has what was written");
	region_look(r);
	ok(r->blocks[0] == 0, "without marks no block is looked at");
	region_mark(r, 9, 1);
	region_look(r);
	ok(r->blocks[0] == 1 && atomic_load(&r->dirty[0]) == 1 << 9, "a mark shows its block");
	ok(memory_file_check(m->file, &why) == 0, "the file is as it was");
}

static unsigned file_losses;
static void file_on_lost(void *arg) { *(unsigned *)arg += 1; }

static void file_truncated(struct memory *m, int fd)
{
	struct region *r = &m->regions[0];
	struct fail    why;
	uint8_t        byte, buf[8];

	m->on_lost     = file_on_lost;
	m->on_lost_arg = &file_losses;
	if (ftruncate(fd, (off_t)(FILE_AT + 4 * GUEST_PAGE)))
		abort();
	ok(memory_file_check(m->file, &why) == -1 && why.kind == FAIL_SYSTEM &&
	   strstr(why.what, "truncated") && strstr(why.what, m->file->path),
	   "a truncated file is named");
	ok(r->host[0] == 1 && r->host[3 * GUEST_PAGE] == 77 && !memory_lost(m),
	   "pages that are left can still be read");
	ok(file_read(r, 4, &byte) == -1 && !memory_lost(m),
	   "a reader of one that is gone gets an error");
	ok(r->host[4 * GUEST_PAGE] == 0 && memory_lost(m) && file_losses == 1,
	   "an access to it ends, with zeros, and memory is lost");
	ok(guest_copy_out(m, buf, ram.gpa + 40 * GUEST_PAGE, 8) == 0 && buf[0] == 0 &&
	   guest_copy_in(m, ram.gpa + 41 * GUEST_PAGE, "x", 1) == 0 && file_losses == 1,
	   "so do others, which is reported once");
	ok(r->host[9 * GUEST_PAGE] == 0 && r->host[3 * GUEST_PAGE] == 77,
	   "Linux has dropped private copies behind the end, and no others");
}

static void from_file(void)
{
	char                path[] = "/tmp/memory_test.XXXXXX";
	struct machine      cfg    = { .nregions = 1, .regions = { ram } };
	const uint64_t      at = FILE_AT, beyond = FILE_AT + GUEST_PAGE, odd = 1;
	struct memory       m, n;
	struct memory_file *f;
	struct flock        lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct fail         why;
	int                 fd = file_make(path);

	ok(fcntl(fd, F_OFD_SETLK, &lk) == 0 && memory_file_open(&f, path, &why) == -1 &&
	   why.kind == FAIL_REFUSED && strstr(why.what, "locked"),
	   "a file that is being written is refused");
	lk.l_type = F_UNLCK;
	fcntl(fd, F_OFD_SETLK, &lk);
	ok(memory_file_open(&f, "/dev/null", &why) == -1 && why.kind == FAIL_USAGE,
	   "so is what is no regular file");
	ok(memory_file_open(&f, path, &why) == 0 &&
	   memory_open_file(&m, &cfg, f, &beyond, &why) == -1 && why.kind == FAIL_CORRUPT &&
	   m.nregions == 0 && m.file == NULL, "and a region that reaches past the end");
	ok(memory_file_open(&f, path, &why) == 0 &&
	   memory_open_file(&m, &cfg, f, &odd, &why) == -1 && why.kind == FAIL_REFUSED,
	   "and an offset that cannot be mapped");
	if (memory_file_open(&f, path, &why) || memory_open_file(&m, &cfg, f, &at, &why) ||
	    memory_file_open(&f, path, &why) || memory_open_file(&n, &cfg, f, &at, &why)) {
		ok(false, why.what);
		return;
	}
	lk.l_type = F_WRLCK;
	ok(fcntl(fd, F_OFD_SETLK, &lk) == -1, "while it is mapped nobody can lock it to write");
	file_pages(&m, &n, fd);
	file_truncated(&m, fd);
	memory_close(&m);
	memory_close(&n);
	ok(fcntl(fd, F_OFD_SETLK, &lk) == 0, "the lock ends with the mapping");
	close(fd);
	unlink(path);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* What it costs does not grow with the region: nothing is touched, but for what a sanitizer notes
 * of memory that is allocated. */
static uint64_t file_faults(uint64_t size)
{
	char                path[] = "/tmp/memory_test.XXXXXX";
	struct machine      cfg    = { .nregions = 1, .regions = { ram } };
	const uint64_t      at     = 0;
	struct rusage       before, after;
	struct memory       m;
	struct memory_file *f;
	struct fail         why;
	int                 fd = mkstemp(path);

	cfg.regions[0].size = size;
	if (fd < 0 || ftruncate(fd, (off_t)size) || memory_file_open(&f, path, &why))
		abort();
	getrusage(RUSAGE_SELF, &before);
	if (memory_open_file(&m, &cfg, f, &at, &why))
		abort();
	getrusage(RUSAGE_SELF, &after);
	memory_close(&m);
	close(fd);
	unlink(path);
	return (uint64_t)(after.ru_minflt - before.ru_minflt);
}
#endif

/* ---- a SIGBUS that is none of ours ---- */

static sigjmp_buf foreign_back;
static void foreign_bus(int number) { (void)number; siglongjmp(foreign_back, 1); }

/* Last: who was asked before us stays in charge. */
static void foreign(void)
{
	int               fd = memfd_create("foreign", MFD_CLOEXEC);
	volatile uint8_t *at = ftruncate(fd, GUEST_PAGE) ? MAP_FAILED
			       : mmap(NULL, GUEST_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	volatile bool     came = false;

	if (at == MAP_FAILED || ftruncate(fd, 0))
		abort();
	if (sigsetjmp(foreign_back, 1) == 0)
		(void)*at;
	else
		came = true;
	ok(came, "a SIGBUS of another mapping goes to the handler that was there before");
	came = false;
	if (sigsetjmp(foreign_back, 1) == 0)
		raise(SIGBUS);
	else
		came = true;
	ok(came, "so does one that was sent");
	close(fd);
}

int main(void)
{
	struct memory      m;
	struct machine     cfg = { .nregions = 2, .regions = { ram, rom } };
	struct fail        why = { 0 };
	struct guest_write w;
	uint8_t            buf[8] = "abcdefg";
	uint64_t           end = ram.gpa + ram.size;

	signal(SIGBUS, foreign_bus);
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
	from_file();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	(void)file_faults((uint64_t)256 << 20);      /* what is touched for the first time */
	ok(file_faults((uint64_t)64 << 30) <= file_faults((uint64_t)256 << 20) + 8,
	   "64 GiB are mapped with as many page faults as 256 MiB");
#endif
	cfg.regions[0].size = LIMIT_REGION_BYTES + GUEST_PAGE;
	ok(memory_open(&m, &cfg, &why) == -1 && why.kind == FAIL_LIMIT && m.nregions == 0,
	   "a region beyond the limit is refused");
	foreign();
	return done_testing();
}
