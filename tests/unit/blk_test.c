/* SPDX-License-Identifier: MIT */
/* The disk: every request against the host's file, refusals, pauses and resets with requests in
 * flight, locks. */
#include "tests/unit/virtio_driver.h"

#include "format/state/state_virtio.h"
#include "format/state/state_virtio_blk.h"
#include "libcommon/io.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/devices/disk_sync.h"
#include "vmrun/blk_all.h"
#include "vmrun/devices/disks.h"
#include "vmrun/devices/virtio_blk.h"
#include "vmrun/devices/virtio_blk_request.h"
#include "vmrun/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLK    0x10001000u
#define RO     0x10002000u
#define ALL    UINT64_MAX
#define HEADER DATA
#define STATUS (DATA + 0x800)
#define BUF    (DATA + 0x1000)
#define SIZE   (1u << 20)

enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };

static struct fake f;
static char        dir[] = "/tmp/blk_test.XXXXXX", disk[64], rodisk[64];

/* The host's flush, as Linux does it: an error is reported once, and the next call is fine. It can
 * be made to hang. */
static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  host_cond = PTHREAD_COND_INITIALIZER;
static unsigned        host_flushes, host_hanging;
static int             host_error;
static bool            host_hang;

int fdatasync(int fd)
{
	int error;

	(void)fd;
	pthread_mutex_lock(&host_lock);
	host_flushes++;
	host_hanging++;
	pthread_cond_broadcast(&host_cond);
	while (host_hang)
		pthread_cond_wait(&host_cond, &host_lock);
	host_hanging--;
	error      = host_error;
	host_error = 0;
	pthread_mutex_unlock(&host_lock);
	errno = error;
	return error ? -1 : 0;
}

static unsigned flushes(void)
{
	pthread_mutex_lock(&host_lock);
	unsigned n = host_flushes;

	host_flushes = 0;
	pthread_mutex_unlock(&host_lock);
	return n;
}

/* The host's write: without space from some offset on, in an order that can be forced. */
static _Atomic int64_t full_from = -1, full_to;     /* offsets that find no space */
/* the write there fails behind that at the next sector */
static _Atomic int64_t first_wait = -1;
static _Atomic bool    next_written;
static _Atomic int64_t lose_at = -1;      /* a write there: guest memory is lost */

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	uint64_t until = io_now_ns() + 10000000000ull;

	if (full_from >= 0 && at >= full_from && at < full_to) {
		while (at == first_wait && !next_written && io_now_ns() < until)
			sched_yield();
		errno = ENOSPC;
		return -1;
	}
	ssize_t n = syscall(SYS_pwrite64, fd, buf, len, at);

	if (lose_at >= 0 && at == lose_at) {
		memory_lose(&f.vm.memory);
		lose_at = -1;
	}

	if (first_wait >= 0 && at == first_wait + 512)
		next_written = true;
	return n;
}

static void hang(bool on)
{
	pthread_mutex_lock(&host_lock);
	host_hang = on;
	pthread_cond_broadcast(&host_cond);
	pthread_mutex_unlock(&host_lock);
}

static void wait_hanging(void)
{
	pthread_mutex_lock(&host_lock);
	while (!host_hanging)
		pthread_cond_wait(&host_cond, &host_lock);
	pthread_mutex_unlock(&host_lock);
}

static uint16_t used_now(void)
{
	return atomic_load_explicit((_Atomic uint16_t *)((char *)ram(&f, Q_USED(0)) + 2),
				    memory_order_acquire);
}

static bool wait_used(uint16_t want)
{
	uint64_t until = io_now_ns() + 10000000000ull;

	while (used_now() != want && io_now_ns() < until)
		sched_yield();
	return used_now() == want;
}

static void header(uint64_t gpa, uint32_t type, uint64_t sector)
{
	uint8_t *h = ram(&f, gpa);

	put_le32(h, type);
	put_le32(h + 4, 0);
	put_le64(h + 8, sector);
}

/* One request with one data buffer (len 0: none); its status byte. */
static int request_at(uint64_t base, uint32_t type, uint64_t sector, uint64_t buf, uint32_t len,
		      bool in)
{
	uint8_t *s    = ram(&f, STATUS);
	uint16_t want = (uint16_t)(used_now() + 1);

	header(HEADER, type, sector);
	*s = 0xee;
	set_desc(&f, Q_DESC(0), 0, HEADER, 16, D_NEXT, len ? 1 : 2);
	set_desc(&f, Q_DESC(0), 1, buf, len, (uint16_t)(D_NEXT | (in ? D_WRITE : 0)), 2);
	set_desc(&f, Q_DESC(0), 2, STATUS, 1, D_WRITE, 0);
	offer(&f, 0, 0);
	kick(&f, base, 0);
	return wait_used(want) ? *s : -1;
}

static int request(uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	return request_at(BLK, type, sector, BUF, len, in);
}

static void fill(uint64_t gpa, size_t len, unsigned seed)
{
	uint8_t *p = ram(&f, gpa);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 131 + i * 7 + i / 256);
}

static bool file_has(const char *path, uint64_t at, const void *data, size_t len)
{
	uint8_t *buf  = malloc(len);
	int      fd   = open(path, O_RDONLY | O_CLOEXEC);
	bool     same = fd >= 0 && pread(fd, buf, len, (off_t)at) == (ssize_t)len &&
			!memcmp(buf, data, len);

	close(fd);
	free(buf);
	return same;
}

static void reads_and_writes(void)
{
	static const uint8_t zero[65536];
	struct stat          st;

	driver_up(&f, BLK, ALL, 1);
	ok(status(&f, BLK) == 15 && rd(&f, BLK + 0x100, 8) == SIZE / 512 &&
	   rd(&f, BLK + 0x10c, 4) == 126, "capacity and seg_max");
	ok((features(&f, BLK) >> 5 & 1) == 0 && features(&f, BLK) >> 9 & 1 &&
	   features(&f, BLK) >> 13 & 1, "a writable disk with flush and discard");
	fill(BUF, 8192, 1);
	ok(request(OUT, 10, 8192, false) == 0 && file_has(disk, 5120, ram(&f, BUF), 8192),
	   "a write reaches the file");
	memset(ram(&f, BUF), 0, 8192);
	clear_dirty(&f);
	ok(request(IN, 10, 8192, true) == 0 && file_has(disk, 5120, ram(&f, BUF), 8192),
	   "a read comes from it");
	ok(used_len(&f, 0, (uint16_t)(used_now() - 1)) == 8193, "its length counts the status");
	ok(page_dirty(&f, BUF) && page_dirty(&f, BUF + 4096) && !page_dirty(&f, BUF + 8192) &&
	   page_dirty(&f, STATUS),
	   "what it wrote is marked, and no more");
	ok(request(FLUSH, 0, 0, false) == 0, "a flush");
	ok(request(GET_ID, 0, 20, true) == 0 && !memcmp(ram(&f, BUF), "root\0\0", 6),
	   "the disk's name");
	ok(request(77, 0, 0, false) == 2, "a type nobody knows is unsupported");
	ok(request(IN, 0, 511, true) == 1 && request(OUT, 0, 513, false) == 1,
	   "a part of a sector is refused");
	ok(request(IN, SIZE / 512 - 1, 1024, true) == 1, "a read over the end is refused");
	ok(request(OUT, SIZE / 512, 512, false) == 1, "a write behind the end is refused");
	ok(request(OUT, UINT64_MAX, 512, false) == 1 &&
	   request(IN, UINT64_MAX / 512 + 1, 512, true) == 1,
	   "sectors that wrap around are refused");
	stat(disk, &st);
	ok(st.st_size == SIZE, "the file has kept its size");

	/* Header and data cut at odd places. */
	header(HEADER, OUT, 100);
	fill(BUF, 512, 2);
	set_desc(&f, Q_DESC(0), 0, HEADER, 5, D_NEXT, 1);
	set_desc(&f, Q_DESC(0), 1, HEADER + 5, 11, D_NEXT, 2);
	set_desc(&f, Q_DESC(0), 2, BUF, 3, D_NEXT, 3);
	set_desc(&f, Q_DESC(0), 3, BUF + 3, 509, D_NEXT, 4);
	set_desc(&f, Q_DESC(0), 4, STATUS, 1, D_WRITE, 0);
	uint16_t want = (uint16_t)(used_now() + 1);

	offer(&f, 0, 0);
	kick(&f, BLK, 0);
	ok(wait_used(want) && *(uint8_t *)ram(&f, STATUS) == 0 &&
	   file_has(disk, 51200, ram(&f, BUF), 512), "framing is the driver's business");

	uint8_t *r = ram(&f, BUF);

	put_le64(r, 96);
	put_le32(r + 8, 8);
	put_le32(r + 12, 0);
	ok(request(DISCARD, 0, 16, false) == 0 && file_has(disk, 49152, zero, 4096),
	   "a discarded block reads as zeros");
	fill(BUF + 4096, 4096, 3);
	ok(request_at(BLK, OUT, 96, BUF + 4096, 4096, false) == 0, "it can be written again");
	put_le32(r + 12, 1);
	ok(request(DISCARD, 0, 16, false) == 2 && file_has(disk, 49152, ram(&f, BUF + 4096), 4096),
	   "discard has no flags");
	put_le64(r, 97);
	put_le32(r + 8, 3);
	ok(request(ZEROES, 0, 16, false) == 0 && file_has(disk, 49664, zero, 1536) &&
	   file_has(disk, 49152, ram(&f, BUF + 4096), 512),
	   "zeros are written where asked, and only there");
	put_le32(r + 12, 0);
	ok(request(ZEROES, 0, 16, false) == 0, "without unmap too");
	put_le32(r + 8, (1u << 16) + 1);
	ok(request(ZEROES, 0, 16, false) == 1, "more than the greatest range is refused");
	put_le64(r, SIZE / 512);
	put_le32(r + 8, 1);
	ok(request(DISCARD, 0, 16, false) == 1 && request(DISCARD, 0, 17, false) == 1,
	   "so is one behind the end, and a part of one");
	put_le64(r, 0);
	put_le64(r + 16, SIZE);
	put_le32(r + 24, 1);
	put_le32(r + 28, 0);
	put_le32(r + 12, 0);
	ok(request(ZEROES, 0, 32, false) == 1 && file_has(disk, 5120, zero, 512) == false,
	   "of two ranges one bad one stops both");

	set_desc(&f, Q_DESC(0), 0, HEADER, 16, 0, 0);
	offer(&f, 0, 0);
	kick(&f, BLK, 0);
	ok(status(&f, BLK) & 0x40, "a request without a status byte: NEEDS_RESET");
}

static void read_only(void)
{
	driver_up(&f, RO, ALL, 1);
	ok(features(&f, RO) >> 5 & 1 && !(features(&f, RO) >> 13 & 1),
	   "a read-only disk says so, and has no discard");
	ok(request_at(RO, IN, 0, BUF, 512, true) == 0 && !memcmp(ram(&f, BUF), "read only", 9),
	   "it is read");
	ok(request_at(RO, OUT, 0, BUF, 512, false) == 1 &&
	   request_at(RO, DISCARD, 0, BUF, 16, false) == 1, "and not written");
	wr(&f, RO + 0x70, 4, 0);
}

/* n writes of a sector each from sector `first` on, kicked at once. */
static void many(unsigned n, uint64_t first)
{
	for (unsigned i = 0; i < n; i++) {
		header(HEADER + 16 * i, OUT, first + i);
		fill(BUF + 512 * i, 512, (unsigned)first + i);
		set_desc(&f, RAM + 0x200000 + 48 * i, 0, HEADER + 16 * i, 16, D_NEXT, 1);
		set_desc(&f, RAM + 0x200000 + 48 * i, 1, BUF + 512 * i, 512, D_NEXT, 2);
		set_desc(&f, RAM + 0x200000 + 48 * i, 2, STATUS + i, 1, D_WRITE, 0);
		set_desc(&f, Q_DESC(0), i, RAM + 0x200000 + 48 * i, 48, D_INDIRECT, 0);
		offer(&f, 0, (uint16_t)i);
	}
	kick(&f, BLK, 0);
}

/* Four more, in descriptors of their own. */
static void many_behind(void)
{
	for (unsigned i = 4; i < 8; i++) {
		header(HEADER + 16 * i, OUT, 400 + i);
		set_desc(&f, RAM + 0x200000 + 48 * i, 0, HEADER + 16 * i, 16, D_NEXT, 1);
		set_desc(&f, RAM + 0x200000 + 48 * i, 1, BUF + 512 * i, 512, D_NEXT, 2);
		set_desc(&f, RAM + 0x200000 + 48 * i, 2, STATUS + i, 1, D_WRITE, 0);
		set_desc(&f, Q_DESC(0), i, RAM + 0x200000 + 48 * i, 48, D_INDIRECT, 0);
		offer(&f, 0, (uint16_t)i);
	}
	kick(&f, BLK, 0);
}

static void in_flight(void)
{
	struct fake_sections saved;
	struct fail       why;
	bool              all = true, put_back = false;

	driver_up(&f, BLK, ALL, 1);
	for (unsigned round = 0; round < 200; round++) {
		uint16_t want = (uint16_t)(used_now() + Q_SIZE);

		many(Q_SIZE, 200);
		if (board_pause(f.vm.board, &why))
			all = false;
		uint16_t at = used_now();

		put_back |= at != want;
		fake_save(&f, "virtio-blk", &saved);
		const struct virtqueue_state *q = (const struct virtqueue_state *)saved.data[1];

		all = all && q->last_avail == q->used_idx && q->used_idx == at && used_now() == at;
		/* the requests not begun survive a save, a reset and a load */
		if (round % 2) {
			board_reset(f.vm.board);
			all = all && fake_load(&f, "virtio-blk", &saved, &why) == 0;
		}
		board_resume(f.vm.board, &why);
		all = all && wait_used(want) &&
		      file_has(disk, 200 * 512, ram(&f, BUF), 512 * Q_SIZE);
	}
	ok(all, "at a pause nothing is in flight, and behind it every request is served once");
	ok(put_back, "requests that had not begun were put back");

	all = true;
	for (unsigned round = 0; round < 100; round++) {
		driver_up(&f, BLK, ALL, 1);
		many(Q_SIZE, 300);
		wr(&f, BLK + 0x70, 4, 0);
		memset(ram(&f, RAM), 0xa5, 0x10000);
		memset(ram(&f, STATUS), 0xa5, Q_SIZE);
		board_pause(f.vm.board, &why);
		board_resume(f.vm.board, &why);
		for (unsigned i = 0; i < 0x10000; i++)
			all = all && ((uint8_t *)ram(&f, RAM))[i] == 0xa5;
		for (unsigned i = 0; i < Q_SIZE; i++)
			all = all && ((uint8_t *)ram(&f, STATUS))[i] == 0xa5;
	}
	ok(all, "behind a reset by the guest no request touches its memory");
	driver_up(&f, BLK, ALL, 1);
	many(Q_SIZE, 300);
	wr(&f, BLK + 0x30, 4, 0);
	wr(&f, BLK + 0x44, 4, 0);
	uint16_t at = used_now();

	ok(rd(&f, BLK + 0x44, 4) == 0 && used_now() == at, "so with a queue that is taken down");
	wr(&f, BLK + 0x70, 4, 0);
}

static void saved_state(void)
{
	struct fake_sections saved;
	struct fail       why;

	fake_save(&f, "virtio-blk", &saved);
	struct virtio_blk_state *s = (struct virtio_blk_state *)saved.data[3];

	ok(s->capacity == SIZE / 512 && !s->readonly, "capacity and mode are saved");
	s->capacity++;
	ok(fake_load(&f, "virtio-blk", &saved, &why) == -1 && why.kind == FAIL_REFUSED,
	   "a disk smaller than the guest knows it is refused");
	s->capacity -= 2;
	ok(fake_load(&f, "virtio-blk", &saved, &why) == 0 &&
	   rd(&f, BLK + 0x100, 8) == SIZE / 512 - 1, "one that has grown is what it was");
	s->capacity++;
	s->readonly = true;
	ok(fake_load(&f, "virtio-blk", &saved, &why) == -1, "a disk of another mode is refused");
	s->readonly = false;
	ok(fake_load(&f, "virtio-blk", &saved, &why) == 0, "the same disk is not");
}

/* Opens another VM with that disk: 0, or what kind of failure it was. */
static int other(const char *path, bool readonly)
{
	static struct fake o;
	struct machine     cfg;
	struct fail        why;

	fake_machine(&cfg);
	cfg.regions[0].size = 4096;
	fake_disk(&cfg, "root", path, readonly);
	if (fake_try(&o, &cfg, &why))
		return (int)why.kind;
	fake_close(&o);
	return 0;
}

/* Another vmrun's view of the disk "root", opened and not locked, as by an incoming VM. */
static void open_beside(struct disk *d)
{
	struct machine_host h = { .name = "root", .cls = HOST_DISK };
	struct fail         why;

	snprintf(h.path, sizeof(h.path), "%s", disk);
	if (disk_open(d, &h, &why))
		exit(1);
}

static bool nobody_else(void)
{
	return other(disk, false) == FAIL_REFUSED && other(disk, true) == FAIL_REFUSED;
}

static void hand_over(void)
{
	struct fail why;
	struct disk d, owner;

	open_beside(&d);
	ok(disk_lock(&d, &why) == -1 && d.hold == DISK_FREE && why.kind == FAIL_REFUSED,
	   "opened beside its owner it is not had as by a stranger");
	ok(disk_hand_over(&d, &why) == 0 && disk_hand_over(&d, &why) == 0,
	   "but waited for, as before READY; twice is once");
	ok(board_own(f.vm.board, true, &why) == 0 && nobody_else(),
	   "which leaves the owner its own");
	ok(board_own(f.vm.board, false, &why) == 0 && nobody_else(),
	   "handed over and not taken, nobody else gets it");
	ok(disk_lock(&d, &why) == 0 && nobody_else(), "the one that waits takes it");
	ok(board_own(f.vm.board, true, &why) == -1 && why.kind == FAIL_REFUSED && nobody_else(),
	   "and the first no more");
	ok(disk_hand_over(&d, &why) == 0 && nobody_else(),
	   "handed over by the second, nobody else gets it");
	disk_close(&d);
	ok(nobody_else(), "nor when the second has gone");
	ok(board_own(f.vm.board, true, &why) == 0 && board_own(f.vm.board, true, &why) == 0,
	   "then the first takes it back; twice is once");

	/* The owner goes without a word while another waits. */
	open_beside(&d);
	board_own(f.vm.board, false, &why);
	open_beside(&owner);
	ok(disk_hand_over(&d, &why) == 0 && disk_hand_over(&owner, &why) == 0 &&
	   disk_lock(&owner, &why) == 0, "three may know of it, one has it");
	disk_close(&owner);
	ok(nobody_else() && disk_lock(&d, &why) == 0, "its death leaves it to those that wait");
	disk_close(&d);
	ok(board_own(f.vm.board, true, &why) == 0, "and theirs to the first");
}

static void locks(void)
{
	char path[128];

	ok(other(disk, false) == FAIL_REFUSED, "a disk in use is refused to another writer");
	ok(other(disk, true) == FAIL_REFUSED, "and to a reader");
	ok(other(rodisk, true) == 0, "readers share");
	hand_over();

	snprintf(path, sizeof(path), "%s/fifo", dir);
	mkfifo(path, 0600);
	ok(other(path, false) == FAIL_REFUSED && other(path, true) == FAIL_REFUSED,
	   "a FIFO is no disk, and nothing hangs");
	unlink(path);
	ok(other(dir, true) == FAIL_REFUSED && other("/dev/null", false) == FAIL_REFUSED,
	   "nor is a folder or /dev/null");
	ok(other(path, false) == FAIL_SYSTEM && access(path, F_OK),
	   "what is not there is not made");
}

static void sizes(void)
{
	struct fail why;

	ok(blk_sizes(&f.vm, &why) == 0 && truncate(disk, 2 * SIZE) == 0 &&
	   blk_sizes(&f.vm, &why) == 0, "a disk may grow under its guest");
	ok(truncate(disk, SIZE - 1) == 0 && blk_sizes(&f.vm, &why) == -1 &&
	   why.kind == FAIL_SYSTEM && strstr(why.what, "root"),
	   "one that the host has cut is refused by name");
	ok(truncate(disk, SIZE) == 0 && blk_sizes(&f.vm, &why) == 0,
	   "and no more when it is whole");
}

static void fingerprints(void)
{
	struct machine_host *h = machine_host_find(&f.vm.cfg, "root");
	struct fail          why;
	uint8_t              was[16];

	ok(blk_fingerprint(&f.vm, &why) == 0 && h->size == SIZE && h->mtime_ns,
	   "a disk's fingerprint is taken");
	memcpy(was, h->digest, 16);
	ok(blk_fingerprint(&f.vm, &why) == 0 && !memcmp(was, h->digest, 16),
	   "it is the same when nothing has changed");
	driver_up(&f, BLK, ALL, 1);
	fill(BUF, 512, 99);
	ok(request(OUT, SIZE / 512 - 1, 512, false) == 0 &&
	   blk_fingerprint(&f.vm, &why) == 0 && memcmp(was, h->digest, 16),
	   "and another when the last sector has");
}

/* What a save asks for: flushed and sampled. */
static int synced(struct fail *why)
{
	blk_sync_start(&f.vm, true);
	blk_wait(&f.vm, BLK_WAIT_SYNCED, NULL, 0, 0);
	return blk_sampled(&f.vm, why);
}

static uint64_t samples_read(void)
{
	struct disk_sync *s = virtio_blk_sync(fake_find(&f, "virtio-blk"));
	uint64_t          n = s->reads;

	s->reads = 0;
	return n;
}

static void saves(void)
{
	struct machine_host *h = machine_host_find(&f.vm.cfg, "root");
	struct fail          why;
	uint8_t              digest[16];

	driver_up(&f, BLK, ALL, 1);
	request(FLUSH, 0, 0, false);
	flushes();
	fill(BUF, 512, 7);
	request(OUT, 8, 512, false);
	ok(board_pause(f.vm.board, &why) == 0 && board_resume(f.vm.board, &why) == 0 &&
		   flushes() == 0,
	   "a pause flushes nothing");
	samples_read();
	ok(synced(&why) == 0 && flushes() == 1 && samples_read() == 16,
	   "before the pause what was written is flushed, and every sample read");
	ok(synced(&why) == 0 && flushes() == 0 && samples_read() == 0,
	   "in the pause nothing is, when nothing was written since");
	request(OUT, SIZE / 512 - 1, 512, false);
	memcpy(digest, h->digest, 16);
	ok(synced(&why) == 0 && flushes() == 1 && samples_read() == 1 &&
		   memcmp(digest, h->digest, 16),
	   "a write since: one flush, the sample it hit");
	memcpy(digest, h->digest, 16);
	ok(blk_fingerprint(&f.vm, &why) == 0 && !memcmp(digest, h->digest, 16),
	   "samples kept and samples read anew have one digest");
	request(FLUSH, 0, 0, false);
	ok(synced(&why) == 0 && flushes() == 1, "the guest's own flush counts");
	blk_forget_samples(&f.vm);
	ok(synced(&why) == 0 && flushes() == 0 && samples_read() == 16,
	   "samples that were dropped are read again");
	blk_forget_samples(&f.vm);
}

static void write_errors(void)
{
	struct fail why;

	driver_up(&f, BLK, ALL, 1);
	request(OUT, 8, 512, false);
	host_error = EIO;
	ok(synced(&why) == -1 && why.kind == FAIL_SYSTEM && why.sys == EIO,
	   "a flush that fails before a pause is told to the saver");
	ok(synced(&why) == -1 && why.sys == EIO,
	   "and to the next one, though the host reports it no more");
	ok(board_pause(f.vm.board, &why) == 0 && board_resume(f.vm.board, &why) == 0,
	   "the VM can be paused all the same");
	board_reset(f.vm.board);
	driver_up(&f, BLK, ALL, 1);
	ok(request(FLUSH, 0, 0, false) == 1,
	   "the guest's next flush fails with it, behind a reset too");
	ok(request(FLUSH, 0, 0, false) == 0, "once");
	ok(synced(&why) == 0, "then a save is good again");
	request(OUT, 8, 512, false);
	host_error = ENOSPC;
	ok(request(FLUSH, 0, 0, false) == 1 && request(FLUSH, 0, 0, false) == 0 &&
		   synced(&why) == 0,
	   "an error that the guest's flush met is the guest's alone");

	/* Both at once: whoever gets the host's report, the guest is told. */
	request(OUT, 8, 512, false);
	hang(true);
	blk_sync_start(&f.vm, true);
	wait_hanging();
	uint16_t want = (uint16_t)(used_now() + 1);

	header(HEADER, FLUSH, 0);
	set_desc(&f, Q_DESC(0), 0, HEADER, 16, D_NEXT, 2);
	set_desc(&f, Q_DESC(0), 2, STATUS, 1, D_WRITE, 0);
	offer(&f, 0, 0);
	kick(&f, BLK, 0);
	host_error = EIO;
	hang(false);
	ok(wait_used(want) && *(uint8_t *)ram(&f, STATUS) == 1,
	   "a flush of the guest's beside one of ours that fails: it fails too");
	blk_wait(&f.vm, BLK_WAIT_SYNCED, NULL, 0, 0);
	blk_forget_samples(&f.vm);
}

/* Disks that take their time. */
static void slow(void)
{
	struct fail   why;
	int           pair[2];
	uint16_t      want;
	struct pollfd other;

	driver_up(&f, BLK, ALL, 1);
	request(OUT, 8, 512, false);
	if (pipe(pair) || write(pair[1], "", 1) != 1)
		exit(1);
	other = (struct pollfd){ .fd = pair[0], .events = POLLIN };
	hang(true);
	blk_sync_start(&f.vm, true);
	wait_hanging();
	ok(!blk_wait(&f.vm, BLK_WAIT_SYNCED, NULL, 0, io_now_ns() + 1) &&
		   blk_synced(&f.vm, &why) == -1,
	   "a flush that hangs is left alone at the deadline");
	ok(!blk_wait(&f.vm, BLK_WAIT_SYNCED, &other, 1, 0) && other.revents,
	   "or when there is something else to do");
	ok(request(IN, 8, 512, true) == 0 && board_pause(f.vm.board, &why) == 0 &&
		   board_resume(f.vm.board, &why) == 0,
	   "the guest reads meanwhile, and can be paused");
	hang(false);
	ok(blk_wait(&f.vm, BLK_WAIT_SYNCED, NULL, 0, 0) && blk_sampled(&f.vm, &why) == 0,
	   "it comes to its end later");

	want = (uint16_t)(used_now() + 1);
	hang(true);
	header(HEADER, FLUSH, 0);
	set_desc(&f, Q_DESC(0), 0, HEADER, 16, D_NEXT, 2);
	set_desc(&f, Q_DESC(0), 2, STATUS, 1, D_WRITE, 0);
	offer(&f, 0, 0);
	kick(&f, BLK, 0);
	wait_hanging();
	blk_hold(&f.vm, true);
	many_behind();
	ok(!blk_wait(&f.vm, BLK_WAIT_QUIET, NULL, 0, io_now_ns() + 1) &&
		   blk_quiet(&f.vm, &why) == -1,
	   "a flush of the guest's that hangs: no pause by the deadline");
	hang(false);
	ok(blk_wait(&f.vm, BLK_WAIT_QUIET, NULL, 0, 0) && blk_quiet(&f.vm, &why) == 0 &&
		   used_now() == want,
	   "when it has ended nothing is in flight, what came behind it waits");
	ok(board_pause(f.vm.board, &why) == 0 && board_resume(f.vm.board, &why) == 0 &&
		   wait_used((uint16_t)(want + 4)),
	   "and is served after the pause");
	blk_hold(&f.vm, true);
	many_behind();
	blk_hold(&f.vm, false);
	ok(wait_used((uint16_t)(want + 8)), "or when the pause was given up");
	close(pair[0]);
	close(pair[1]);
	blk_forget_samples(&f.vm);
}

/* ---- no space on the host ---- */

static bool wait_stalled(void)
{
	uint64_t until = io_now_ns() + 10000000000ull;
	bool     asked;

	do {
		sched_yield();
		pthread_mutex_lock(&f.vm.machine_lock);
		asked = f.asked & 1u << VM_EVENT_NO_SPACE;
		f.asked = asked ? f.asked & ~(1u << VM_EVENT_NO_SPACE) : f.asked;
		pthread_mutex_unlock(&f.vm.machine_lock);
	} while (!asked && io_now_ns() < until);
	return asked;
}

/* Each of the first n requests has been used, once. */
static bool used_once(unsigned n)
{
	uint8_t *u = ram(&f, Q_USED(0));
	uint32_t seen = 0;

	for (unsigned i = 0; i < n; i++)
		seen |= 1u << get_le32(u + 4 + 8 * i);
	return used_now() == n && seen == (1u << n) - 1;
}

static void no_space(void)
{
	struct device    *d = f.vm.board->devices[0];
	struct fake_sections saved;
	struct fail       why;
	bool              told;

	for (unsigned i = 0; d->ops != &virtio_blk_ops; )
		d = f.vm.board->devices[++i];

	/* The first fails once the second has been done: counting back can't put it into the
	 * ring. */
	driver_up(&f, BLK, ALL, 1);
	full_from = first_wait = 600 * 512;
	full_to   = full_from + 512;
	many(Q_SIZE, 600);
	ok(wait_stalled() && virtio_blk_stalled(d, &told) && !told &&
	   virtio_blk_stalled(d, &told) && told,
	   "a write that finds no space on the host stalls the disk, and says so once");
	ok(((uint8_t *)ram(&f, STATUS))[0] == 0 && board_pause(f.vm.board, &why) == 0,
	   "the VM can be paused then");
	fake_save(&f, "virtio-blk", &saved);
	const struct virtqueue_state *q = (const struct virtqueue_state *)saved.data[1];
	struct virtio_blk_state      *s = (struct virtio_blk_state *)saved.data[3];

	ok(next_written && s->kept == 1 && s->kept_heads[0] == 0 && q->last_avail == q->used_idx &&
	   q->used_idx >= 1,
	   "that request is kept, behind one that has been done, and nothing is in flight");
	ok(board_pause(f.vm.board, &why) == 0 && board_resume(f.vm.board, &why) == 0 &&
	   wait_stalled(), "resumed without space it stalls again");
	ok(board_pause(f.vm.board, &why) == 0, "and is paused again");
	fake_save(&f, "virtio-blk", &saved);
	board_reset(f.vm.board);
	ok(!virtio_blk_stalled(d, NULL), "a reset of the machine forgets it");
	s->kept = VIRTIO_BLK_KEPT_MAX;
	ok(fake_load(&f, "virtio-blk", &saved, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "a request that is kept twice is refused");
	s->kept = 1;
	ok(fake_load(&f, "virtio-blk", &saved, &why) == 0, "what was saved is loaded");
	full_from = first_wait = -1;
	ok(board_resume(f.vm.board, &why) == 0 && wait_used(Q_SIZE) && used_once(Q_SIZE) &&
	   file_has(disk, 600 * 512, ram(&f, BUF), 512 * Q_SIZE),
	   "with space every request is done, each used once");

	/* Both threads at once, again and again, with pauses before they have begun. */
	bool all = true;

	for (unsigned round = 0; round < 50; round++) {
		driver_up(&f, BLK, ALL, 1);
		full_from = (int64_t)(700 + round % 5) * 512;
		full_to   = full_from + 4 * 512;
		many(Q_SIZE, 700);
		all = all && wait_stalled();
		for (unsigned i = 0; i < 4; i++)
			all = all && board_pause(f.vm.board, &why) == 0 &&
			      board_resume(f.vm.board, &why) == 0;
		board_pause(f.vm.board, &why);
		full_from = -1;
		all = all && board_resume(f.vm.board, &why) == 0 && wait_used(Q_SIZE) &&
		      used_once(Q_SIZE) &&
		      file_has(disk, 700 * 512, ram(&f, BUF), 512 * Q_SIZE);
		f.asked = 0;
	}
	ok(all, "so with several that fail, and pauses in between");

	driver_up(&f, BLK, ALL, 1);
	full_from = 0;
	full_to   = SIZE;
	many(Q_SIZE, 800);
	ok(wait_stalled(), "a disk stalls");
	wr(&f, BLK + 0x70, 4, 0);
	memset(ram(&f, RAM), 0xa5, 0x10000);
	memset(ram(&f, STATUS), 0xa5, Q_SIZE);
	full_from = -1;
	board_pause(f.vm.board, &why);
	board_resume(f.vm.board, &why);
	all = true;
	for (unsigned i = 0; i < 0x10000; i++)
		all = all && ((uint8_t *)ram(&f, RAM))[i] == 0xa5;
	for (unsigned i = 0; i < Q_SIZE; i++)
		all = all && ((uint8_t *)ram(&f, STATUS))[i] == 0xa5;
	driver_up(&f, BLK, ALL, 1);
	ok(all && !virtio_blk_stalled(d, NULL) && request(OUT, 800, 512, false) == 0,
	   "its driver resets it: forgotten, and it works again");

	full_from = 0;
	full_to   = SIZE;
	header(HEADER, OUT, 10);
	many(1, 800);
	ok(wait_stalled() && board_pause(f.vm.board, &why) == 0, "a disk stalls");
	set_desc(&f, RAM + 0x200000, 1, UINT64_MAX - 4095, 512, D_NEXT, 2);
	board_resume(f.vm.board, &why);
	ok(status(&f, BLK) & 0x40 && !virtio_blk_stalled(d, NULL),
	   "a request that its driver has spoilt meanwhile is the driver's mistake");
	full_from = -1;
	wr(&f, BLK + 0x70, 4, 0);
}

static void make(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, SIZE) || pwrite(fd, text, strlen(text), 0) < 0)
		exit(1);
	close(fd);
}

/* Guest memory is lost (vmrun/memory.h): before a request begins, and while it is done. */
static void lost(void)
{
	static struct memory_file file = { .fd = -1 };
	struct memory            *m    = &f.vm.memory;
	struct device            *d    = board_device(f.vm.board, &virtio_blk_ops);
	struct fail               why;
	uint8_t                   was[512];
	uint16_t                  used;

	m->file = &file;
	driver_up(&f, BLK, ALL, 1);
	fill(BUF, 512, 21);
	ok(request(OUT, 300, 512, false) == 0 && file_has(disk, 153600, ram(&f, BUF), 512),
	   "memory that is a file is like any");
	memcpy(was, ram(&f, BUF), sizeof(was));
	used = used_now();

	device_lock(d);
	virtio_blk_hold(d, true);
	device_unlock(d);
	fill(BUF, 512, 22);
	header(HEADER, OUT, 300);
	set_desc(&f, Q_DESC(0), 0, HEADER, 16, D_NEXT, 1);
	set_desc(&f, Q_DESC(0), 1, BUF, 512, D_NEXT, 2);
	set_desc(&f, Q_DESC(0), 2, STATUS, 1, D_WRITE, 0);
	offer(&f, 0, 0);
	kick(&f, BLK, 0);
	memory_lose(m);
	device_lock(d);
	virtio_blk_hold(d, false);
	device_unlock(d);
	ok(board_pause(f.vm.board, &why) == 0 && used_now() == used &&
	   file_has(disk, 153600, was, sizeof(was)), "lost: a request that waits does not begin");

	atomic_store(&m->lost, false);
	if (board_resume(f.vm.board, &why) || !wait_used((uint16_t)(used + 1)))
		abort();
	lose_at = 300 * 512;
	offer(&f, 0, 0);
	kick(&f, BLK, 0);
	while (lose_at >= 0)
		sched_yield();
	ok(board_pause(f.vm.board, &why) == 0 && used_now() == (uint16_t)(used + 1),
	   "one that was under way is not completed");
	atomic_store(&m->lost, false);
	m->file = NULL;
	if (board_resume(f.vm.board, &why))
		abort();
	driver_up(&f, BLK, ALL, 1);
	ok(request(OUT, 300, 512, false) == 0, "(the device still works)");
}

/* What a request wrote that was made of memory which is lost while it is copied. */
static void lost_copy(void)
{
	static struct memory_file file = { .fd = -1 };
	struct memory            *m    = &f.vm.memory;
	struct device            *d    = board_device(f.vm.board, &virtio_blk_ops);
	struct virtq_chain        c    = { .nread = 2, .nwrite = 1, .read_len = 528, .write_len = 1,
					   .seg = { { HEADER, 16 }, { BUF, 512 }, { STATUS, 1 } } };
	uint8_t                  *buf  = malloc(BLK_REQUEST_MAX), was[512];
	const char               *mistake;
	uint32_t                  written;

	fill(BUF, 512, 23);
	if (!buf || request(OUT, 300, 512, false))
		abort();
	memcpy(was, ram(&f, BUF), sizeof(was));
	fill(BUF, 512, 24);
	header(HEADER, OUT, 300);

	struct blk_request *r = blk_request_make(m, &c, &mistake);

	m->file = &file;
	memory_lose(m);
	ok(r && blk_request_run(r, virtio_blk_sync(d), SIZE / 512, m, buf, &written) == BLK_LOST &&
	   file_has(disk, 153600, was, sizeof(was)),
	   "bytes that may not be the guest's do not reach the disk");
	m->file = NULL;
	atomic_store(&m->lost, false);
	free(r);
	free(buf);
}

int main(void)
{
	struct machine cfg;

	if (!mkdtemp(dir))
		return 1;
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	snprintf(rodisk, sizeof(rodisk), "%s/ro", dir);
	make(disk, "");
	make(rodisk, "read only");
	fake_machine(&cfg);
	fake_disk(&cfg, "root", disk, false);
	fake_disk(&cfg, "data", rodisk, true);
	fake_open(&f, &cfg);
	fake_start(&f);
	reads_and_writes();
	read_only();
	in_flight();
	saved_state();
	locks();
	fingerprints();
	sizes();
	no_space();
	saves();
	write_errors();
	slow();
	lost();
	lost_copy();
	fake_close(&f);
	unlink(disk);
	unlink(rodisk);
	rmdir(dir);
	return done_testing();
}
