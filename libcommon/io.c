/* SPDX-License-Identifier: MIT */
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int io_read_some(int fd, void *buf, size_t len, size_t *got, const char *what, struct fail *why)
{
	uint8_t *p = buf;

	*got = 0;
	while (*got < len) {
		ssize_t n = read(fd, p + *got, len - *got);

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_sys(why, "%s: read", what);
		*got += (size_t)n;
	}
	return 0;
}

int io_read_cancel(int fd, int cancel, void *buf, size_t len, size_t *got, const char *what,
		   struct fail *why)
{
	uint8_t *p = buf;

	if (cancel < 0)
		return io_read_some(fd, buf, len, got, what, why);
	*got = 0;
	while (*got < len) {
		struct pollfd w[2] = { { .fd = fd, .events = POLLIN },
				       { .fd = cancel, .events = POLLIN } };
		ssize_t       n;

		if (poll(w, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return fail_sys(why, "%s: poll", what);
		}
		if (w[1].revents)
			return fail_set(why, FAIL_ENDED, "read cancelled");
		n = read(fd, p + *got, len - *got);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return fail_sys(why, "%s: read", what);
		*got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int io_read(int fd, void *buf, size_t len, const char *what, struct fail *why)
{
	size_t got;

	if (io_read_some(fd, buf, len, &got, what, why))
		return -1;
	if (got < len)
		return fail_set(why, FAIL_CORRUPT, "%s: unexpected end of file: %zu of %zu bytes",
				what, got, len);
	return 0;
}

int io_write(int fd, const void *buf, size_t len, const char *what, struct fail *why)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_sys(why, "%s: write", what);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what, struct fail *why)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_sys(why, "%s: read", what);
		if (n == 0)
			return fail_at(why, FAIL_CORRUPT, at,
				       "%s: unexpected end of file: %zu bytes missing", what, len);
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pwrite(int fd, const void *buf, size_t len, uint64_t at, const char *what, struct fail *why)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_sys(why, "%s: write", what);
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Waits for events until the deadline: 0 ready, -1 with *why. */
static int io_wait(int fd, short events, uint64_t deadline_ns, const char *what, struct fail *why)
{
	for (;;) {
		struct pollfd p  = { .fd = fd, .events = events };
		int           ms = -1;

		if (deadline_ns) {
			uint64_t now  = io_now_ns();
			uint64_t left = deadline_ns > now ? deadline_ns - now : 0;

			/* Rounded up, so that poll does not end before it; an hour fits an int. */
			left = (left + 999999) / 1000000;
			ms   = left > 3600000 ? 3600000 : (int)left;
		}
		int n = poll(&p, 1, ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return fail_sys(why, "%s: poll", what);
		if (n == 0 && deadline_ns && io_now_ns() >= deadline_ns)
			return fail_set(why, FAIL_PEER, "%s: timed out waiting for a reply", what);
	}
}

static int io_peer_error(const char *what, const char *verb, struct fail *why)
{
	int sys = errno;

	fail_set(why, FAIL_PEER, "%s: %s", what, verb);
	why->sys = sys;
	return -1;
}

int io_send(int fd, const void *buf, size_t len, uint64_t deadline_ns, const char *what,
	    struct fail *why)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL | (deadline_ns ? MSG_DONTWAIT : 0));

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return io_peer_error(what, "send", why);
		if (io_wait(fd, POLLOUT, deadline_ns, what, why))
			return -1;
	}
	return 0;
}

ssize_t io_fds_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds, int flags)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	union {
		struct cmsghdr align;
		char           bytes[CMSG_SPACE(IO_FDS_MAX * sizeof(int))];
	} ctl = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds > IO_FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (nfds) {
		m.msg_control    = ctl.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type  = SCM_RIGHTS;
		c->cmsg_len   = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	return sendmsg(fd, &m, flags | MSG_NOSIGNAL);
}

int io_packet_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds,
		   const char *what, struct fail *why)
{
	if (nfds > IO_FDS_MAX)
		return fail_set(why, FAIL_LIMIT, "%s: %zu descriptors in one message", what, nfds);
	for (;;) {
		if (io_fds_send(fd, buf, len, fds, nfds, 0) >= 0)
			return 0;
		if (errno != EINTR)
			return io_peer_error(what, "send", why);
	}
}

size_t io_fds_take(struct msghdr *m, int *fds, size_t capacity)
{
	size_t came = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++, came++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
			if (came < capacity)
				fds[came] = one;
			else
				close(one);
		}
	}
	return came;
}

int io_fds_lost(int fd, const char *what, struct fail *why)
{
	int one = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (one < 0)
		return fail_sys(why, "%s: cannot receive the passed file descriptor", what);
	close(one);
	return fail_set(why, FAIL_PEER, "%s: more file descriptors than expected", what);
}

int io_packet_recv(int fd, void *buf, size_t len, size_t *got, int *fds, size_t *nfds,
		   uint64_t deadline_ns, const char *what, struct fail *why)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	union {
		struct cmsghdr align;
		char           bytes[CMSG_SPACE(IO_FDS_MAX * sizeof(int))];
	} ctl = { 0 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl.bytes, .msg_controllen = sizeof(ctl.bytes),
	};
	size_t  capacity = nfds ? *nfds : 0, came;
	ssize_t n;

	*got = 0;
	if (nfds)
		*nfds = 0;
	if (deadline_ns && io_wait(fd, POLLIN, deadline_ns, what, why))
		return -1;
	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	/* A peer that closed with our last message unread: the end all the same. */
	if (n < 0 && errno == ECONNRESET)
		return 0;
	if (n < 0)
		return io_peer_error(what, "receive", why);

	came = io_fds_take(&m, fds, capacity);
	if (came <= capacity && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		*got = (size_t)n;
		if (nfds)
			*nfds = came;
		return 0;
	}
	if (m.msg_flags & MSG_CTRUNC)
		io_fds_lost(fd, what, why);
	else
		fail_set(why, FAIL_PEER, "%s: truncated message or unexpected file descriptors",
			 what);
	for (size_t i = 0; i < came && i < capacity; i++)
		close(fds[i]);
	return -1;
}

static uint64_t io_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int io_accept(int listen_fd, int flags, bool *full)
{
	int fd = accept4(listen_fd, NULL, NULL, flags | SOCK_CLOEXEC);

	*full = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM);
	return fd;
}

int io_vector_skip(struct iovec **v, int n, size_t done)
{
	for (; n && done >= (*v)->iov_len; n--, (*v)++)
		done -= (*v)->iov_len;
	if (n) {
		(*v)->iov_base = (uint8_t *)(*v)->iov_base + done;
		(*v)->iov_len -= done;
	}
	return n;
}

uint64_t io_now_ns(void)
{
	return io_clock(CLOCK_MONOTONIC);
}

uint64_t io_realtime_ns(void)
{
	return io_clock(CLOCK_REALTIME);
}

int io_memfd(const char *name, const void *buf, size_t len, struct fail *why)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return fail_sys(why, "%s: memfd_create", name);
	if (io_pwrite(fd, buf, len, 0, name, why)) {
		close(fd);
		return -1;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		fail_sys(why, "%s: seal", name);
		close(fd);
		return -1;
	}
	return fd;
}

int io_slurp(int fd, uint8_t **out, size_t *len, size_t max, const char *what, struct fail *why)
{
	size_t   capacity = 64 * 1024, have = 0;
	uint8_t *buf      = malloc(capacity);

	while (buf) {
		size_t got;

		if (io_read_some(fd, buf + have, capacity - have, &got, what, why)) {
			free(buf);
			return -1;
		}
		have += got;
		if (have > max) {
			free(buf);
			return fail_set(why, FAIL_LIMIT, "%s: exceeds the limit of %zu bytes", what,
					max);
		}
		if (have < capacity) {
			*out = buf;
			*len = have;
			return 0;
		}
		capacity *= 2;
		uint8_t *more = realloc(buf, capacity);

		if (!more)
			free(buf);
		buf = more;
	}
	errno = ENOMEM;
	return fail_sys(why, "%s: buffer", what);
}

void io_close(int *fd)
{
	int keep = errno;

	if (*fd >= 0)
		close(*fd);
	*fd   = -1;
	errno = keep;
}

int io_standard_fds(struct fail *why)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) == -1 &&
		    open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) != fd)
			return fail_sys(why, "/dev/null");
	return 0;
}
