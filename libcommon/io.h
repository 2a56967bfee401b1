/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_IO_H
#define LIBCOMMON_IO_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whole transfers over files, pipes and sockets; descriptors over sockets; clocks. Nothing here
 * takes a lock: a descriptor may be used by several threads as far as the kernel permits it.
 *
 * In all functions @what names the file, stream or peer in messages ("web.vms"), and *why is
 * filled if and only if the result is -1. Lengths and offsets are in bytes. */

/**
 * io_read - read or write exactly @len bytes
 * @fd:   file, pipe or socket, blocking
 * @buf:  @len bytes
 * @len:  0 is valid
 * @at:   offset in the file, for io_pread() and io_pwrite()
 * @what: for messages
 * @why:  FAIL_SYSTEM; FAIL_CORRUPT when the input ends before @len bytes
 *
 * EINTR and short transfers are hidden. After a failure an unknown part has been transferred.
 *
 * Return: 0 or -1.
 */
int io_read(int fd, void *buf, size_t len, const char *what, struct fail *why);
int io_write(int fd, const void *buf, size_t len, const char *what, struct fail *why);
int io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what, struct fail *why);
int io_pwrite(int fd, const void *buf, size_t len, uint64_t at, const char *what,
	      struct fail *why);

/**
 * io_read_some - as io_read(), but the end of the input is no failure
 * @got: out, bytes read: less than @len only at the end of the input or after a failure
 *
 * io_read_cancel() also ends, with FAIL_ENDED, as soon as the descriptor @cancel is readable
 * (-1: never), which is checked before each read(2).
 *
 * Return: 0 or -1.
 */
int io_read_some(int fd, void *buf, size_t len, size_t *got, const char *what, struct fail *why);
int io_read_cancel(int fd, int cancel, void *buf, size_t len, size_t *got, const char *what,
		   struct fail *why);

/**
 * io_send - send exactly @len bytes over a stream socket
 * @fd:          socket, blocking or not
 * @buf:         @len bytes
 * @len:         0 is valid
 * @deadline_ns: on the clock of io_now_ns(); 0 for none
 * @what:        for messages
 * @why:         FAIL_PEER when the deadline passes, the peer closes or the connection is lost;
 *               FAIL_SYSTEM when poll(2) fails
 *
 * Return: 0 or -1.
 */
int io_send(int fd, const void *buf, size_t len, uint64_t deadline_ns, const char *what,
	    struct fail *why);

/* Descriptors in one message, at most. */
#define IO_FDS_MAX 16

/**
 * io_fds_send - one sendmsg(2) with descriptors (SCM_RIGHTS)
 * @fd:    AF_UNIX socket
 * @buf:   @len bytes; on a stream at least 1, with which the descriptors travel
 * @fds:   descriptors to pass; they stay the caller's
 * @nfds:  0 to IO_FDS_MAX
 * @flags: of sendmsg(2); MSG_NOSIGNAL is added
 *
 * The one place where a control message is built. EINTR is not hidden.
 *
 * Return: bytes sent, which is less than @len only on a stream; -1 with errno, and then no
 * descriptor was passed.
 */
ssize_t io_fds_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds, int flags);

struct msghdr;
/**
 * io_fds_take - descriptors that came with a message
 * @m:        filled by recvmsg(2)
 * @fds:      out, the first of them
 * @capacity: of @fds; more than that are closed
 *
 * Return: how many came, which may be more than @capacity.
 */
size_t io_fds_take(struct msghdr *m, int *fds, size_t capacity);

/**
 * io_fds_lost - why MSG_CTRUNC was set; to be called before what did come is closed
 * @fd: any open descriptor; a copy of it shows whether this process may open another
 *
 * Return: -1 with FAIL_SYSTEM when the limit of open files is reached, else FAIL_PEER.
 */
int io_fds_lost(int fd, const char *what, struct fail *why);

/**
 * io_packet_send - one message of a SOCK_SEQPACKET socket
 * @fd:   socket; when it is non-blocking and full, *why has errno EAGAIN and nothing was sent
 * @buf:  @len bytes
 * @fds:  @nfds descriptors to pass, 0 to IO_FDS_MAX; they stay the caller's
 * @why:  FAIL_PEER, with errno; FAIL_LIMIT for more than IO_FDS_MAX
 *
 * Return: 0 or -1.
 */
int io_packet_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds,
		   const char *what, struct fail *why);

/**
 * io_packet_recv - receive one message of a SOCK_SEQPACKET socket
 * @buf:         room for @len bytes; a longer message is FAIL_PEER
 * @got:         out, length of the message; 0 at the end of the connection, a reset included
 * @fds:         out, descriptors that came, with CLOEXEC; the caller's
 * @nfds:        in: capacity of @fds; out: how many came. NULL for none
 * @deadline_ns: on the clock of io_now_ns(); 0 for none
 * @why:         FAIL_PEER; FAIL_SYSTEM when this process may not open what came
 *
 * More descriptors than @nfds are a failure. After a failure all that came are closed.
 *
 * Return: 0 or -1.
 */
int io_packet_recv(int fd, void *buf, size_t len, size_t *got, int *fds, size_t *nfds,
		   uint64_t deadline_ns, const char *what, struct fail *why);

/* Pause before accept is tried again when there was no descriptor for a connection. */
#define IO_ACCEPT_REST_NS 100000000u

/**
 * io_accept - accept4(2) with CLOEXEC
 * @flags: of accept4(2), besides SOCK_CLOEXEC
 * @full:  out, a connection waits for which this process or host has no descriptor or memory. The
 *         socket stays readable then: polling it at once would spin; retry after IO_ACCEPT_REST_NS
 *
 * Return: descriptor, or -1 for no connection.
 */
int io_accept(int listen_fd, int flags, bool *full);

struct iovec;
/* After a short writev(2) or sendmsg(2): moves *v, of n, past the bytes that were taken. Returns
 * how many are left. */
int io_vector_skip(struct iovec **v, int n, size_t done);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t io_now_ns(void);
/* CLOCK_REALTIME in nanoseconds since 1970. */
uint64_t io_realtime_ns(void);

/**
 * io_memfd - a memfd with a copy of @buf
 * @name: shown in /proc/PID/fd
 * @len:  0 is valid
 * @why:  FAIL_SYSTEM
 *
 * Return: descriptor with CLOEXEC, its size sealed, at offset 0; or -1.
 */
int io_memfd(const char *name, const void *buf, size_t len, struct fail *why);

/**
 * io_slurp - read all of a file or pipe
 * @out: out, malloc'd; never NULL on success, not even for an empty file
 * @len: out, its length
 * @max: bytes that are accepted; one more is FAIL_LIMIT
 *
 * Return: 0 or -1.
 */
int io_slurp(int fd, uint8_t **out, size_t *len, size_t max, const char *what, struct fail *why);

/* Closes *fd unless it is -1 and sets it to -1; errno is kept. */
void io_close(int *fd);

/* For the start of a tool that opens files: opens /dev/null for each standard descriptor that is
 * closed, else a file would get its number and be written to. What stands for standard output
 * cannot be written, so that a tool that prints fails. */
int io_standard_fds(struct fail *why);

#endif
