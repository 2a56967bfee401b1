/* SPDX-License-Identifier: MIT */
/* rawcopy save MIB | move MIB: the bare copy that `make bench` measures against, into memory of the
 * same kind: the least that any saver, any move must do.
 *
 *   save   a populated memfd, read in 2 MiB pieces and written to standard output
 *   move   the same over TCP on loopback into a second, fresh memfd by pwrite
 *
 * Prints the seconds of the copy alone on standard error. */
#include "libcommon/io.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE ((size_t)2 << 20)

static uint8_t piece[PIECE];

/* As the step guest leaves its pages: not zero, little in them. */
static int filled(size_t len, struct fail *why)
{
	int fd = memfd_create("rawcopy", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)len))
		return fail_sys(why, "memfd");
	for (size_t i = 0; i < PIECE; i += 4096)
		memset(piece + i, 0x5a, 16);
	for (size_t at = 0; at < len; at += PIECE)
		if (io_pwrite(fd, piece, PIECE, at, "memfd", why))
			return -1;
	return fd;
}

static int rawcopy_save(size_t len, struct fail *why)
{
	int      from = filled(len, why);
	uint64_t t = io_now_ns();

	if (from < 0)
		return -1;
	for (size_t at = 0; at < len; at += PIECE)
		if (io_pread(from, piece, PIECE, at, "memfd", why) ||
		    io_write(1, piece, PIECE, "standard output", why))
			return -1;
	fprintf(stderr, "%.4f\n", (double)(io_now_ns() - t) / 1e9);
	return 0;
}

static int rawcopy_receive(int s, size_t len, struct fail *why)
{
	int to = memfd_create("rawcopy", MFD_CLOEXEC);

	if (to < 0 || ftruncate(to, (off_t)len))
		return fail_sys(why, "memfd");
	for (size_t at = 0; at < len; at += PIECE)
		if (io_read(s, piece, PIECE, "loopback", why) ||
		    io_pwrite(to, piece, PIECE, at, "memfd", why))
			return -1;
	return io_send(s, "k", 1, 0, "loopback", why);
}

static int rawcopy_move(size_t len, struct fail *why)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t          n = sizeof(a);
	int                l    = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int                from = filled(len, why), s;
	char               ack;

	if (from < 0)
		return -1;
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &n))
		return fail_sys(why, "loopback");
	pid_t child = fork();

	if (child < 0)
		return fail_sys(why, "fork");
	if (child == 0) {
		s = accept(l, NULL, NULL);
		_exit(s < 0 || rawcopy_receive(s, len, why) ? 1 : 0);
	}
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)))
		return fail_sys(why, "loopback");
	uint64_t t = io_now_ns();

	for (size_t at = 0; at < len; at += PIECE)
		if (io_pread(from, piece, PIECE, at, "memfd", why) ||
		    io_send(s, piece, PIECE, 0, "loopback", why))
			return -1;
	if (io_read(s, &ack, 1, "loopback", why))
		return -1;
	fprintf(stderr, "%.4f\n", (double)(io_now_ns() - t) / 1e9);
	return waitpid(child, NULL, 0) == child ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct fail why = { 0 };
	size_t      len = argc == 3 ? (size_t)strtoul(argv[2], NULL, 10) << 20 : 0;

	if (len && !strcmp(argv[1], "save"))
		return rawcopy_save(len, &why) ? fail_report("rawcopy", &why) : 0;
	if (len && !strcmp(argv[1], "move"))
		return rawcopy_move(len, &why) ? fail_report("rawcopy", &why) : 0;
	fprintf(stderr, "usage: rawcopy save|move MIB\n");
	return 2;
}
