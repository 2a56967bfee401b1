/* SPDX-License-Identifier: MIT */
/* rawcopy: the bare copies that `make bench` measures against, one thread each: the least that any
 * saver, any restore, any move must do.
 *
 *   pipe MEMORY AT MIB         MIB of MEMORY from AT MiB on, to standard output
 *   write MEMORY AT MIB FILE   the same into FILE by O_DIRECT, and fdatasync
 *   move MEMORY AT MIB         the same over TCP on loopback, by another process into a new memfd
 *   read FILE                  all of FILE through the page cache into a new memfd
 *   read-direct FILE           the same by O_DIRECT
 *   touch MIB                  writes to so much memory and frees it, so that what is measured next
 *                              does not wait for a hypervisor to give it back
 *
 * MEMORY is a memfd, such as /proc/PID/fd/N of a vmrun. Prints seconds and CPU seconds of the copy
 * alone on standard error: not those of creating and freeing memory. */
#include "libcommon/io.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
/* What stays in a core's cache between the read and the write; O_DIRECT does not read it, but waits
 * for the device once a piece. */
#define PIECE        ((size_t)256 << 10)
#define PIECE_DIRECT (4 * MIB)

static alignas(4096) uint8_t piece[PIECE_DIRECT];

/* MIB of MEMORY from AT on. */
struct part {
	int    fd;
	size_t at, len;
};

struct meter {
	uint64_t start_ns;
	double   start_cpu;
};

static double cpu_used(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u))
		return 0;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct meter meter_start(void)
{
	return (struct meter){ .start_ns = io_now_ns(), .start_cpu = cpu_used() };
}

/* @more: CPU seconds of other processes */
static void meter_print(const struct meter *m, double more)
{
	fprintf(stderr, "%.6f %.6f\n", (double)(io_now_ns() - m->start_ns) / 1e9,
		cpu_used() - m->start_cpu + more);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static int rawcopy_pipe(const struct part *p, struct fail *why)
{
	/* Fails for what is no pipe, which then needs none of it. */
	(void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, (int)MIB);
	struct meter m = meter_start();

	for (size_t done = 0, n; done < p->len; done += n) {
		n = least(PIECE, p->len - done);
		if (io_pread(p->fd, piece, n, p->at + done, "memory", why) ||
		    io_write(STDOUT_FILENO, piece, n, "standard output", why))
			return -1;
	}
	meter_print(&m, 0);
	return 0;
}

static int rawcopy_write(const struct part *p, const char *path, struct fail *why)
{
	struct meter m  = meter_start();
	int          fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail_sys(why, "%s: O_DIRECT", path);
	for (size_t done = 0, n; done < p->len; done += n) {
		n = least(PIECE_DIRECT, p->len - done);
		if (io_pread(p->fd, piece, n, p->at + done, "memory", why) ||
		    io_pwrite(fd, piece, n, done, path, why))
			return -1;
	}
	if (fdatasync(fd))
		return fail_sys(why, "%s", path);
	meter_print(&m, 0);
	return 0;
}

static int rawcopy_read(const char *path, bool direct, struct fail *why)
{
	int         fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
	int         to = memfd_create("rawcopy", MFD_CLOEXEC);
	size_t      most = direct ? PIECE_DIRECT : PIECE;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return fail_sys(why, "%s", path);
	if (to < 0 || ftruncate(to, st.st_size))
		return fail_sys(why, "memfd");
	struct meter m = meter_start();

	for (size_t done = 0, got; done < (size_t)st.st_size; done += got) {
		/* Whole pieces are asked for: O_DIRECT reads the odd end of a file so. */
		ssize_t n = pread(fd, piece, most, (off_t)done);

		if (n <= 0)
			return fail_sys(why, "%s: read", path);
		got = (size_t)n;
		if (io_pwrite(to, piece, got, done, "memfd", why))
			return -1;
	}
	meter_print(&m, 0);
	return 0;
}

/* Answers with its CPU seconds when everything has arrived. */
static int rawcopy_receive(int s, size_t len, struct fail *why)
{
	int to = memfd_create("rawcopy", MFD_CLOEXEC);

	if (to < 0 || ftruncate(to, (off_t)len))
		return fail_sys(why, "memfd");
	for (size_t done = 0, n; done < len; done += n) {
		n = least(PIECE, len - done);
		if (io_read(s, piece, n, "loopback", why) ||
		    io_pwrite(to, piece, n, done, "memfd", why))
			return -1;
	}
	double cpu = cpu_used();

	return io_send(s, &cpu, sizeof(cpu), 0, "loopback", why);
}

static int rawcopy_move(const struct part *p, struct fail *why)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t          alen = sizeof(a);
	int                l    = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), s;
	double             cpu;

	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &alen))
		return fail_sys(why, "loopback");
	pid_t child = fork();

	if (child < 0)
		return fail_sys(why, "fork");
	if (child == 0) {
		s = accept(l, NULL, NULL);
		_exit(s < 0 || rawcopy_receive(s, p->len, why) ? 1 : 0);
	}
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)))
		return fail_sys(why, "loopback");
	struct meter m = meter_start();

	for (size_t done = 0, n; done < p->len; done += n) {
		n = least(PIECE, p->len - done);
		if (io_pread(p->fd, piece, n, p->at + done, "memory", why) ||
		    io_send(s, piece, n, 0, "loopback", why))
			return -1;
	}
	if (io_read(s, &cpu, sizeof(cpu), "loopback", why))
		return -1;
	meter_print(&m, cpu);
	return waitpid(child, NULL, 0) == child ? 0 : fail_sys(why, "waitpid");
}

static int rawcopy_touch(size_t len, struct fail *why)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return fail_sys(why, "%zu MiB of memory", len / MIB);
	for (size_t at = 0; at < len; at += 4096)
		((volatile uint8_t *)p)[at] = 1;
	return munmap(p, len) ? fail_sys(why, "munmap") : 0;
}

static int rawcopy_part(const char *kind, char **args, struct fail *why)
{
	struct part p = { .at = (size_t)strtoul(args[1], NULL, 10) * MIB,
			  .len = (size_t)strtoul(args[2], NULL, 10) * MIB };

	p.fd = open(args[0], O_RDONLY | O_CLOEXEC);
	if (p.fd < 0)
		return fail_sys(why, "%s", args[0]);
	if (!strcmp(kind, "pipe"))
		return rawcopy_pipe(&p, why);
	return strcmp(kind, "write") ? rawcopy_move(&p, why) : rawcopy_write(&p, args[3], why);
}

static const struct { const char *name; int operands; } rawcopy_kinds[] = {
	{ "pipe", 3 }, { "write", 4 }, { "move", 3 },
	{ "read", 1 }, { "read-direct", 1 }, { "touch", 1 },
};

int main(int argc, char **argv)
{
	struct fail why = { 0 };
	int         rc;

	for (size_t i = 0; i < sizeof(rawcopy_kinds) / sizeof(*rawcopy_kinds); i++) {
		const char *kind = rawcopy_kinds[i].name;

		if (argc < 2 || strcmp(argv[1], kind) || argc - 2 != rawcopy_kinds[i].operands)
			continue;
		if (argc > 3)
			rc = rawcopy_part(kind, argv + 2, &why);
		else if (!strcmp(kind, "touch"))
			rc = rawcopy_touch((size_t)strtoul(argv[2], NULL, 10) * MIB, &why);
		else
			rc = rawcopy_read(argv[2], !strcmp(kind, "read-direct"), &why);
		return rc ? fail_report("rawcopy", &why) : 0;
	}
	fprintf(stderr, "usage: rawcopy pipe|move MEMORY AT MIB | write MEMORY AT MIB FILE |\n"
			"       read|read-direct FILE | touch MIB\n");
	return 2;
}
