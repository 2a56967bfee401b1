/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/io.h"
#include "libcommon/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Two ways out.
 *
 * A pipe, a socket, or a file that is not ours alone is written at once, from where the bytes are:
 * the pages have just been read and hashed, and are still in the cache.
 *
 * A fresh regular file is written with O_DIRECT, as buffered writes run at an eighth of its speed:
 * the pages are copied once more and written back by one kernel thread. The bytes are gathered in
 * aligned pieces, which a thread writes at aligned offsets while the next one is filled; what is
 * left at the end is written plainly. */

#define OUTPUT_ALIGN  4096u
#define OUTPUT_PIECE  ((size_t)1 << 20)
#define OUTPUT_PIECES 4u
#define OUTPUT_PIPE   (1 << 20)      /* bytes: the default of /proc/sys/fs/pipe-max-size */

struct output {
	int         fd;
	/* the caller's descriptor, where fd is our own of that file; else -1 */
	int         shared;
	bool        fresh;        /* a regular file that begins with us: its head can be replaced */
	bool        regular;
	bool        direct;       /* O_DIRECT is set, by us */
	uint64_t    given;        /* bytes */
	uint64_t    written;      /* bytes; of a fresh file the thread's while one is queued */
	uint64_t    wait_ns;
	char        what[256];

	/* Of a fresh file. The piece that is being filled is `filling`; the `queued` pieces before
	 * it are the thread's. */
	uint8_t        *pieces[OUTPUT_PIECES];
	unsigned        filling;
	size_t          fill;     /* bytes in it */
	pthread_t       thread;
	bool            running;
	pthread_mutex_t lock;     /* of all below */
	pthread_cond_t  changed;
	unsigned        queued;
	bool            stop;
	bool            failed;   /* nothing more is written */
	struct fail     why;
};

static void direct_off(struct output *o)
{
	int flags = fcntl(o->fd, F_GETFL);

	if (o->direct && flags != -1)
		fcntl(o->fd, F_SETFL, flags & ~O_DIRECT);
	o->direct = false;
}

/* The flags and the offset of a standard descriptor are shared with those who started us and those
 * who write after us, and no cleanup runs after SIGKILL. So we write through an open file
 * description of our own, and keep the offset of theirs up to date. Where there can be none (no
 * /proc, another user's file) we write through theirs, without O_DIRECT. */
static bool output_own(struct output *o)
{
	char self[40];
	int  own;

	if (o->fd > STDERR_FILENO)
		return true;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", o->fd);
	own = open(self, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (own < 0)
		return false;
	o->shared = o->fd;
	o->fd     = own;
	return true;
}

static bool output_set_direct(struct output *o)
{
	int flags;

	if (!output_own(o))
		return false;
	flags = fcntl(o->fd, F_GETFL);
	return flags != -1 && fcntl(o->fd, F_SETFL, flags | O_DIRECT) == 0;
}

static int output_move_shared(const struct output *o, uint64_t to, struct fail *why)
{
	if (o->shared >= 0 && lseek(o->shared, (off_t)to, SEEK_SET) < 0)
		return fail_sys(why, "%s: offset", o->what);
	return 0;
}

/* All of them to fd. */
static int output_put(struct output *o, struct iovec *v, int n, struct fail *why)
{
	uint64_t end = o->written;

	/* The offset of theirs goes first: who is killed in between may leave a gap, but nobody
	 * writes over what is there. */
	for (int i = 0; i < n; i++)
		end += v[i].iov_len;
	if (output_move_shared(o, end, why))
		return -1;
	while (n) {
		ssize_t done = writev(o->fd, v, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EINVAL && o->direct) {
			/* Some file systems take the flag and refuse the write. */
			direct_off(o);
			continue;
		}
		if (done < 0) {
			fail_sys(why, "%s: write", o->what);
			output_move_shared(o, o->written, &(struct fail){ 0 });
			return -1;
		}
		o->written += (uint64_t)done;
		/* A short direct write leaves an offset that is not aligned; only a full disk does
		 * that, and the next write says so. */
		if (o->direct && o->written % OUTPUT_ALIGN)
			direct_off(o);
		n = io_vector_skip(&v, n, (size_t)done);
	}
	return 0;
}

static int output_put_piece(struct output *o, unsigned piece, size_t at, size_t len,
			    struct fail *why)
{
	struct iovec v = { .iov_base = o->pieces[piece] + at, .iov_len = len };

	return len ? output_put(o, &v, 1, why) : 0;
}

/* Writes the queued pieces, the oldest first. After a failure they are dropped. */
static void *output_main(void *arg)
{
	struct output *o = arg;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		while (!o->queued && !o->stop)
			pthread_cond_wait(&o->changed, &o->lock);
		if (o->stop)
			break;

		unsigned piece = (o->filling + OUTPUT_PIECES - o->queued) % OUTPUT_PIECES;

		if (!o->failed) {
			struct fail why = { 0 };

			pthread_mutex_unlock(&o->lock);
			int rc = output_put_piece(o, piece, 0, OUTPUT_PIECE, &why);

			pthread_mutex_lock(&o->lock);
			o->failed = rc != 0;
			o->why    = why;
		}
		o->queued--;
		pthread_cond_broadcast(&o->changed);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

static int output_start(struct output *o, struct fail *why)
{
	for (unsigned i = 0; i < OUTPUT_PIECES; i++)
		if (posix_memalign((void **)&o->pieces[i], OUTPUT_ALIGN, OUTPUT_PIECE))
			return fail_set(why, FAIL_SYSTEM, "%s: out of memory", o->what);
	o->running = thread_start(&o->thread, output_main, o, o->what, why) == 0;
	return o->running ? 0 : -1;
}

int output_open(struct output **out, int fd, const char *what, struct fail *why)
{
	struct output *o = calloc(1, sizeof(*o));
	struct stat    st;
	int            flags;

	if (!o)
		return fail_sys(why, "%s: output", what);
	o->fd     = fd;
	o->shared = -1;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	snprintf(o->what, sizeof(o->what), "%s", what);
	flags = fcntl(fd, F_GETFL);
	if (flags == -1 || fstat(fd, &st)) {
		fail_sys(why, "%s: output", what);
		goto failed;
	}
	o->regular = S_ISREG(st.st_mode);
	/* With O_APPEND a pwrite appends, whatever its offset. */
	o->fresh = o->regular && !(flags & O_APPEND) && lseek(fd, 0, SEEK_CUR) == 0;
	if (o->fresh && st.st_size) {
		fail_set(why, FAIL_USAGE, "%s: file not empty", what);
		goto failed;
	}
	if (o->fresh && output_start(o, why))
		goto failed;
	/* Another's O_DIRECT would refuse our last, unaligned piece: cleared then and not set
	 * again. */
	o->direct = o->fresh && (output_set_direct(o) || (flags & O_DIRECT));
	/* Fewer changes between writer and reader; where it is refused, the size stays. */
	if (S_ISFIFO(st.st_mode))
		fcntl(fd, F_SETPIPE_SZ, OUTPUT_PIPE);
	*out = o;
	return 0;
failed:
	output_close(o);
	return -1;
}

void output_close(struct output *o)
{
	if (!o)
		return;
	if (o->running) {
		pthread_mutex_lock(&o->lock);
		o->stop = true;
		pthread_cond_broadcast(&o->changed);
		pthread_mutex_unlock(&o->lock);
		pthread_join(o->thread, NULL);
	}
	direct_off(o);
	if (o->shared >= 0)
		io_close(&o->fd);
	for (unsigned i = 0; i < OUTPUT_PIECES; i++)
		free(o->pieces[i]);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->changed);
	free(o);
}

/* Until at most `most` pieces are queued. */
static int output_wait(struct output *o, unsigned most, struct fail *why)
{
	uint64_t begin = io_now_ns();
	int      rc;

	pthread_mutex_lock(&o->lock);
	while (o->queued > most)
		pthread_cond_wait(&o->changed, &o->lock);
	rc = o->failed ? -1 : 0;
	if (rc)
		*why = o->why;
	pthread_mutex_unlock(&o->lock);
	o->wait_ns += io_now_ns() - begin;
	return rc;
}

/* The piece is full: it goes to the thread, and the next one, which is free, is begun. */
static int output_next(struct output *o, struct fail *why)
{
	pthread_mutex_lock(&o->lock);
	o->queued++;
	o->filling = (o->filling + 1) % OUTPUT_PIECES;
	o->fill    = 0;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
	return output_wait(o, OUTPUT_PIECES - 1, why);
}

static int output_gather(struct output *o, const uint8_t *p, size_t len, struct fail *why)
{
	while (len) {
		size_t n = OUTPUT_PIECE - o->fill;

		n = n < len ? n : len;
		memcpy(o->pieces[o->filling] + o->fill, p, n);
		o->fill += n;
		p += n;
		len -= n;
		if (o->fill == OUTPUT_PIECE && output_next(o, why))
			return -1;
	}
	return 0;
}

int output_write(struct output *o, const struct iovec *v, int n, struct fail *why)
{
	struct iovec rest[OUTPUT_VECTORS];
	uint64_t     begin;
	int          rc;

	assert(n <= OUTPUT_VECTORS);
	for (int i = 0; i < n; i++) {
		o->given += v[i].iov_len;
		if (o->fresh && output_gather(o, v[i].iov_base, v[i].iov_len, why))
			return -1;
	}
	if (o->fresh)
		return 0;
	memcpy(rest, v, (size_t)n * sizeof(*v));
	begin = io_now_ns();
	rc    = output_put(o, rest, n, why);
	o->wait_ns += io_now_ns() - begin;
	return rc;
}

bool output_aligned(const struct output *o)
{
	return o->fresh;
}

uint64_t output_bytes(const struct output *o)
{
	return o->given;
}

uint64_t output_wait_ns(const struct output *o)
{
	return o->wait_ns;
}

int output_finish(struct output *o, const void *head, size_t len, struct fail *why)
{
	size_t aligned = o->fill / OUTPUT_ALIGN * OUTPUT_ALIGN;

	uint64_t begin = io_now_ns();

	if (o->fresh) {
		if (output_wait(o, 0, why) || output_put_piece(o, o->filling, 0, aligned, why))
			return -1;
		direct_off(o);
		if (output_put_piece(o, o->filling, aligned, o->fill - aligned, why))
			return -1;
	}
	if (o->regular && fsync(o->fd))
		return fail_sys(why, "%s: fsync", o->what);
	if (o->fresh && io_pwrite(o->fd, head, len, 0, o->what, why))
		return -1;
	if (o->fresh && fsync(o->fd))
		return fail_sys(why, "%s: fsync", o->what);
	o->wait_ns += io_now_ns() - begin;
	return 0;
}
