/* SPDX-License-Identifier: MIT */
#include "format/snapshot/output_file.h"
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Two ways out. A pipe, a socket, or a file that is not ours alone is written at once, from where
 * the bytes are: the pages have just been read and hashed, and are still in the cache. A fresh
 * regular file is written by output_file.c. */

#define OUTPUT_PIPE (1 << 20)      /* bytes: the default of /proc/sys/fs/pipe-max-size */

struct output {
	int                 fd;
	bool                regular;
	struct output_file *file;      /* of a fresh file: its head can be replaced; else NULL */
	uint64_t            given;     /* where the next bytes go */
	uint64_t            wait_ns;
	char                what[256];
};

int output_open(struct output **out, int fd, const char *what, struct fail *why)
{
	struct output *o = calloc(1, sizeof(*o));
	struct stat    st;
	bool           fresh;
	int            flags;

	if (!o)
		return fail_sys(why, "%s: output", what);
	o->fd = fd;
	snprintf(o->what, sizeof(o->what), "%s", what);
	flags = fcntl(fd, F_GETFL);
	if (flags == -1 || fstat(fd, &st)) {
		fail_sys(why, "%s: output", what);
		goto failed;
	}
	o->regular = S_ISREG(st.st_mode);
	/* With O_APPEND a pwrite appends, whatever its offset. */
	fresh = o->regular && !(flags & O_APPEND) && lseek(fd, 0, SEEK_CUR) == 0;
	if (fresh && st.st_size) {
		fail_set(why, FAIL_USAGE, "%s: file not empty", what);
		goto failed;
	}
	if (fresh && output_file_open(&o->file, fd, what, why))
		goto failed;
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
	output_file_close(o->file);
	free(o);
}

/* All of them to fd. */
static int output_put(struct output *o, struct iovec *v, int n, struct fail *why)
{
	while (n) {
		ssize_t done = writev(o->fd, v, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return fail_sys(why, "%s: write", o->what);
		n = io_vector_skip(&v, n, (size_t)done);
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
		if (o->file && output_file_put(o->file, o->given, v[i].iov_base, v[i].iov_len,
					       why))
			return -1;
		o->given += v[i].iov_len;
	}
	if (o->file)
		return 0;
	memcpy(rest, v, (size_t)n * sizeof(*v));
	begin = io_now_ns();
	rc    = output_put(o, rest, n, why);
	o->wait_ns += io_now_ns() - begin;
	return rc;
}

struct output_file *output_fresh(const struct output *o)
{
	return o->file;
}

void output_skip(struct output *o, uint64_t to)
{
	assert(o->file && to >= o->given);
	o->given = to;
}

uint64_t output_bytes(const struct output *o)
{
	return o->given;
}

uint64_t output_wait_ns(const struct output *o)
{
	return o->wait_ns + (o->file ? output_file_wait_ns(o->file) : 0);
}

int output_finish(struct output *o, const void *head, size_t len, struct fail *why)
{
	uint64_t begin;

	if (o->file && output_file_drain(o->file, why))
		return -1;
	begin = io_now_ns();
	if (o->regular && fsync(o->fd))
		return fail_sys(why, "%s: fsync", o->what);
	if (o->file && (io_pwrite(o->fd, head, len, 0, o->what, why) ||
			(fsync(o->fd) && fail_sys(why, "%s: fsync", o->what))))
		return -1;
	o->wait_ns += io_now_ns() - begin;
	return 0;
}
