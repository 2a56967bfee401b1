/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Buffered writes to a file run at an eighth of the speed of O_DIRECT ones: the pages are copied
 * once more and written back by one kernel thread. So: 4 MiB pieces from an aligned buffer, at
 * aligned offsets; what is left at the end is written plainly. */

#define OUTPUT_ALIGN 4096u
#define OUTPUT_PIECE ((size_t)4 << 20)

struct output {
	int         fd;
	/* the caller's descriptor, where fd is our own of that file; else -1 */
	int         shared;
	bool        fresh;        /* a regular file that begins with us: its head can be replaced */
	bool        regular;
	bool        direct;       /* O_DIRECT is set, by us */
	size_t      fill, capacity;
	uint64_t    written;
	uint8_t    *buf;
	char        what[256];
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

int output_open(struct output **out, int fd, const char *what, struct fail *why)
{
	struct output *o = calloc(1, sizeof(*o));
	struct stat    st;
	int            flags;

	if (!o)
		return fail_sys(why, "%s: output buffer", what);
	o->fd     = fd;
	o->shared = -1;
	o->capacity   = OUTPUT_PIECE + page_chunk_capacity() + OUTPUT_ALIGN;
	snprintf(o->what, sizeof(o->what), "%s", what);
	if (posix_memalign((void **)&o->buf, OUTPUT_ALIGN, o->capacity)) {
		fail_set(why, FAIL_SYSTEM, "%s: out of memory", what);
		goto failed;
	}
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
	/* Another's O_DIRECT would refuse our last, unaligned piece: cleared then and not set
	 * again. */
	o->direct = o->fresh && (output_set_direct(o) || (flags & O_DIRECT));
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
	direct_off(o);
	if (o->shared >= 0)
		io_close(&o->fd);
	free(o->buf);
	free(o);
}

/* The first len buffered bytes to fd. */
static int output_put(struct output *o, size_t len, struct fail *why)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(o->fd, o->buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && o->direct) {
			/* Some file systems take the flag and refuse the write. */
			direct_off(o);
			continue;
		}
		if (n < 0)
			return fail_sys(why, "%s: write", o->what);
		done += (size_t)n;
		/* A short direct write leaves an offset that is not aligned; only a full disk does
		 * that, and the next write says so. */
		if (o->direct && done % OUTPUT_ALIGN)
			direct_off(o);
	}
	o->written += len;
	o->fill -= len;
	if (o->shared >= 0 && lseek(o->shared, (off_t)o->written, SEEK_SET) < 0)
		return fail_sys(why, "%s: offset", o->what);
	memmove(o->buf, o->buf + len, o->fill);
	return 0;
}

uint8_t *output_capacity(struct output *o, size_t len)
{
	assert(len <= o->capacity - o->fill);
	return o->buf + o->fill;
}

int output_filled(struct output *o, size_t len, struct fail *why)
{
	o->fill += len;
	if (!o->fresh)
		return output_put(o, o->fill, why);
	if (o->fill >= OUTPUT_PIECE)
		return output_put(o, o->fill / OUTPUT_ALIGN * OUTPUT_ALIGN, why);
	return 0;
}

int output_write(struct output *o, const void *buf, size_t len, struct fail *why)
{
	const uint8_t *p = buf;

	while (len) {
		size_t n = len < OUTPUT_PIECE / 2 ? len : OUTPUT_PIECE / 2;

		memcpy(output_capacity(o, n), p, n);
		if (output_filled(o, n, why))
			return -1;
		p += n;
		len -= n;
	}
	return 0;
}

uint64_t output_bytes(const struct output *o)
{
	return o->written + o->fill;
}

int output_finish(struct output *o, const void *head, size_t len, struct fail *why)
{
	if (o->direct && output_put(o, o->fill / OUTPUT_ALIGN * OUTPUT_ALIGN, why))
		return -1;
	direct_off(o);
	if (output_put(o, o->fill, why))
		return -1;
	if (o->regular && fsync(o->fd))
		return fail_sys(why, "%s: fsync", o->what);
	if (!o->fresh)
		return 0;
	if (io_pwrite(o->fd, head, len, 0, o->what, why))
		return -1;
	if (fsync(o->fd))
		return fail_sys(why, "%s: fsync", o->what);
	return 0;
}
