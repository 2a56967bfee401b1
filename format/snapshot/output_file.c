/* SPDX-License-Identifier: MIT */
#include "format/snapshot/output_file.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/io.h"
#include "libcommon/thread.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes are gathered in pieces, which a thread writes while the next one is filled. A piece has one
 * extent or a few: of a chunked snapshot, which is written from its begin to its end, one; of a
 * flat one, whose pages are written where they belong, as many as there are gaps.
 *
 * O_DIRECT, as buffered writes run at an eighth of its speed: the pages are copied once more and
 * written back by one kernel thread. It needs aligned offsets, lengths and memory; what is not
 * aligned, and what is too short to be worth a disk access of its own, is written plainly. */

#define FILE_ALIGN   4096u
#define FILE_PIECE   ((size_t)1 << 20)
#define FILE_PIECES  4u
#define FILE_EXTENTS 256u
#define FILE_SHORT   ((size_t)64 << 10)
static_assert(FILE_PIECES * FILE_PIECE <= SNAP_WRITER_QUEUED, "more is queued than is said");

struct extent {
	uint64_t at, len;      /* of the file */
	size_t   from;         /* of the piece's bytes */
	bool     clear;        /* has no bytes: zeroes */
};

struct piece {
	uint8_t      *bytes;
	size_t        fill;
	unsigned      n;
	struct extent extents[FILE_EXTENTS];
};

struct output_file {
	int             fd;
	/* The caller's descriptor, where fd is our own of that file; else fd. Its offset is kept
	 * behind what is written. */
	int             theirs;
	bool            can_direct, direct;      /* may O_DIRECT be used; is it set */
	uint64_t        high;                    /* end of what has been written */
	uint64_t        wait_ns;
	char            what[256];

	/* The piece that is being filled is `filling`; the `queued` pieces before it are the
	 * thread's. */
	struct piece    pieces[FILE_PIECES];
	unsigned        filling;
	pthread_t       thread;
	bool            running;
	pthread_mutex_t lock;     /* of all below */
	pthread_cond_t  changed;
	unsigned        queued;
	bool            stop;
	bool            failed;   /* nothing more is written */
	struct fail     why;
};

/* The flags and the offset of a standard descriptor are shared with those who started us and those
 * who write after us, and no cleanup runs after SIGKILL. So we write through an open file
 * description of our own, and keep the offset of theirs up to date. Where there can be none (no
 * /proc, another user's file) we write through theirs, without O_DIRECT. */
static bool file_own(struct output_file *f)
{
	char self[40];
	int  own;

	if (f->fd > STDERR_FILENO)
		return true;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	own = open(self, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (own < 0)
		return false;
	f->fd = own;
	return true;
}

static void file_set_direct(struct output_file *f, bool on)
{
	int flags;

	if (f->direct == on || (on && !f->can_direct))
		return;
	flags = fcntl(f->fd, F_GETFL);
	if (flags == -1 || fcntl(f->fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT))
		f->can_direct = false;
	else
		f->direct = on;
}

static int file_move_theirs(const struct output_file *f, uint64_t to, struct fail *why)
{
	if (lseek(f->theirs, (off_t)to, SEEK_SET) >= 0)
		return 0;
	/* An offset that no file of this file system has, as of a flat snapshot of 16 TiB. */
	if (errno == EINVAL)
		errno = EFBIG;
	return fail_sys(why, "%s: offset", f->what);
}

static int file_write(struct output_file *f, const uint8_t *p, size_t len, uint64_t at,
		      struct fail *why)
{
	while (len) {
		size_t  aligned = at % FILE_ALIGN ? 0 : len / FILE_ALIGN * FILE_ALIGN;
		ssize_t n;

		file_set_direct(f, aligned >= FILE_SHORT);
		n = pwrite(f->fd, p, f->direct ? aligned : len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && f->direct) {
			/* Some file systems take the flag and refuse the write. */
			file_set_direct(f, false);
			f->can_direct = false;
			continue;
		}
		if (n < 0)
			return fail_sys(why, "%s: write", f->what);
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int file_zero(struct output_file *f, uint64_t at, uint64_t len, struct fail *why)
{
	static const uint8_t zeroes[FILE_ALIGN];

	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
		      (off_t)len) == 0)
		return 0;
	for (; len; at += sizeof(zeroes), len -= sizeof(zeroes))
		if (file_write(f, zeroes, sizeof(zeroes), at, why))
			return -1;
	return 0;
}

static int file_extent(struct output_file *f, const struct piece *p, const struct extent *e,
		       struct fail *why)
{
	uint64_t high = f->high > e->at + e->len ? f->high : e->at + e->len;

	if (e->clear)
		return file_zero(f, e->at, e->len, why);
	/* The offset of theirs goes first: who is killed in between may leave a gap, but nobody
	 * writes over what is there. */
	if (file_move_theirs(f, high, why))
		return -1;
	if (file_write(f, p->bytes + e->from, (size_t)e->len, e->at, why)) {
		file_move_theirs(f, f->high, &(struct fail){ 0 });
		return -1;
	}
	f->high = high;
	return 0;
}

static int file_piece(struct output_file *f, struct piece *p, struct fail *why)
{
	int rc = 0;

	for (unsigned i = 0; i < p->n && rc == 0; i++)
		rc = file_extent(f, p, &p->extents[i], why);
	p->n    = 0;
	p->fill = 0;
	return rc;
}

/* Writes the queued pieces, the oldest first. After a failure they are dropped. */
static void *file_main(void *arg)
{
	struct output_file *f = arg;

	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (!f->queued && !f->stop)
			pthread_cond_wait(&f->changed, &f->lock);
		if (f->stop)
			break;

		unsigned oldest = (f->filling + FILE_PIECES - f->queued) % FILE_PIECES;

		if (!f->failed) {
			struct fail why = { 0 };

			pthread_mutex_unlock(&f->lock);
			int rc = file_piece(f, &f->pieces[oldest], &why);

			pthread_mutex_lock(&f->lock);
			f->failed = rc != 0;
			f->why    = why;
		}
		f->queued--;
		pthread_cond_broadcast(&f->changed);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int output_file_open(struct output_file **out, int fd, const char *what, struct fail *why)
{
	struct output_file *f = calloc(1, sizeof(*f));
	int                 flags;

	if (!f)
		return fail_sys(why, "%s: output", what);
	f->fd = f->theirs = fd;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	snprintf(f->what, sizeof(f->what), "%s", what);
	for (unsigned i = 0; i < FILE_PIECES; i++)
		if (posix_memalign((void **)&f->pieces[i].bytes, FILE_ALIGN, FILE_PIECE)) {
			fail_set(why, FAIL_SYSTEM, "%s: out of memory", what);
			goto failed;
		}
	f->can_direct = file_own(f);
	/* Another's O_DIRECT would refuse what is not aligned. */
	flags     = fcntl(f->fd, F_GETFL);
	f->direct = flags != -1 && flags & O_DIRECT;
	f->running = thread_start(&f->thread, file_main, f, f->what, why) == 0;
	if (!f->running)
		goto failed;
	*out = f;
	return 0;
failed:
	output_file_close(f);
	return -1;
}

void output_file_close(struct output_file *f)
{
	if (!f)
		return;
	if (f->running) {
		pthread_mutex_lock(&f->lock);
		f->stop = true;
		pthread_cond_broadcast(&f->changed);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
	}
	file_set_direct(f, false);
	if (f->theirs != f->fd)
		io_close(&f->fd);
	for (unsigned i = 0; i < FILE_PIECES; i++)
		free(f->pieces[i].bytes);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
}

/* Until at most `most` pieces are queued. */
static int file_wait(struct output_file *f, unsigned most, struct fail *why)
{
	uint64_t begin = io_now_ns();
	int      rc;

	pthread_mutex_lock(&f->lock);
	while (f->queued > most)
		pthread_cond_wait(&f->changed, &f->lock);
	rc = f->failed ? -1 : 0;
	if (rc)
		*why = f->why;
	pthread_mutex_unlock(&f->lock);
	f->wait_ns += io_now_ns() - begin;
	return rc;
}

/* The piece goes to the thread, and the next one, which is free, is begun. */
static int file_next(struct output_file *f, struct fail *why)
{
	pthread_mutex_lock(&f->lock);
	f->queued++;
	f->filling = (f->filling + 1) % FILE_PIECES;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return file_wait(f, FILE_PIECES - 1, why);
}

/* The extent that the next bytes for file offset `at` go to; NULL: the piece has no place. */
static struct extent *file_place(struct piece *p, uint64_t at, bool clear)
{
	struct extent *last = p->n ? &p->extents[p->n - 1] : NULL;
	size_t         from = (p->fill + FILE_ALIGN - 1) / FILE_ALIGN * FILE_ALIGN;

	if (last && last->at + last->len == at && last->clear == clear)
		return clear || p->fill < FILE_PIECE ? last : NULL;
	/* Aligned memory, for O_DIRECT. */
	if (p->n == FILE_EXTENTS || from >= FILE_PIECE)
		return NULL;
	if (!clear)
		p->fill = from;
	p->extents[p->n] = (struct extent){ .at = at, .from = p->fill, .clear = clear };
	return &p->extents[p->n++];
}

static int file_extent_at(struct output_file *f, uint64_t at, bool clear, struct extent **out,
			  struct fail *why)
{
	*out = file_place(&f->pieces[f->filling], at, clear);
	if (*out)
		return 0;
	if (file_next(f, why))
		return -1;
	*out = file_place(&f->pieces[f->filling], at, clear);
	return 0;
}

int output_file_put(struct output_file *f, uint64_t at, const void *bytes, size_t len,
		    struct fail *why)
{
	const uint8_t *p = bytes;

	while (len) {
		struct extent *e;
		struct piece  *piece;
		size_t         n;

		if (file_extent_at(f, at, false, &e, why))
			return -1;
		piece = &f->pieces[f->filling];
		n     = FILE_PIECE - piece->fill < len ? FILE_PIECE - piece->fill : len;
		memcpy(piece->bytes + piece->fill, p, n);
		piece->fill += n;
		e->len += n;
		p += n;
		at += n;
		len -= n;
		if (piece->fill == FILE_PIECE && file_next(f, why))
			return -1;
	}
	return 0;
}

int output_file_clear(struct output_file *f, uint64_t at, uint64_t len, struct fail *why)
{
	struct extent *e;

	assert(at % FILE_ALIGN == 0 && len % FILE_ALIGN == 0);
	if (file_extent_at(f, at, true, &e, why))
		return -1;
	e->len += len;
	return 0;
}

int output_file_drain(struct output_file *f, struct fail *why)
{
	if (f->pieces[f->filling].n && file_next(f, why))
		return -1;
	if (file_wait(f, 0, why))
		return -1;
	file_set_direct(f, false);
	return 0;
}

uint64_t output_file_wait_ns(const struct output_file *f)
{
	return f->wait_ns;
}
