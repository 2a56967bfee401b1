/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_IO_H
#define LIBCOMMON_IO_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whole transfers: EINTR and short counts are hidden, an early end of file is an error. `what` names the
 * file or stream in the message ("web.vms"). Return 0, or -1 with *why. */
int io_read(int fd, void *buf, size_t len, const char *what, struct fail *why);
int io_write(int fd, const void *buf, size_t len, const char *what, struct fail *why);
int io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what, struct fail *why);
int io_pwrite(int fd, const void *buf, size_t len, uint64_t at, const char *what, struct fail *why);

/* Like io_read, but stops at the end of the file: *got is 0 to len. */
int io_read_some(int fd, void *buf, size_t len, size_t *got, const char *what, struct fail *why);

/* Like io_read_some, but given up (FAIL_ENDED) once the descriptor `cancel` is readable; -1: never. */
int io_read_cancel(int fd, int cancel, void *buf, size_t len, size_t *got, const char *what,
		   struct fail *why);

/* The same over a socket with a deadline on io_now_ns()'s clock; 0 is none. A passed deadline, a reset and
 * an early end are FAIL_PEER. The descriptor may be blocking or not. */
int io_recv(int fd, void *buf, size_t len, uint64_t deadline_ns, const char *what, struct fail *why);
int io_send(int fd, const void *buf, size_t len, uint64_t deadline_ns, const char *what, struct fail *why);

/* One SOCK_SEQPACKET message with up to IO_FDS_MAX descriptors. io_packet_recv sets CLOEXEC, takes MSG_TRUNC
 * and MSG_CTRUNC as errors (and closes what came), and gives *got = 0 at the end of the connection. */
#define IO_FDS_MAX 16
/* After MSG_CTRUNC, before what did come is closed: why. FAIL_SYSTEM when our limit of open files is reached, else FAIL_PEER. */
int io_fds_lost(int fd, const char *what, struct fail *why);
int io_packet_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds, const char *what, struct fail *why);
int io_packet_recv(int fd, void *buf, size_t len, size_t *got, int *fds, size_t *nfds, uint64_t deadline_ns,
		   const char *what, struct fail *why);

/* accept4 with CLOEXEC and these flags. -1: no connection; with *full there is one for which this
 * process or host has no descriptors or memory: the socket stays readable, and is to be left alone
 * for IO_ACCEPT_REST_NS. */
#define IO_ACCEPT_REST_NS 100000000u
int io_accept(int listen_fd, int flags, bool *full);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t io_now_ns(void);
/* CLOCK_REALTIME in nanoseconds since 1970. */
uint64_t io_realtime_ns(void);

/* A sealed-size memfd holding buf, offset 0, CLOEXEC; -1 with *why. */
int io_memfd(const char *name, const void *buf, size_t len, struct fail *why);

/* Reads all of a file or pipe, at most max bytes (one more is FAIL_LIMIT). *out is malloc'd. */
int io_slurp(int fd, uint8_t **out, size_t *len, size_t max, const char *what, struct fail *why);

/* Closes when not -1 and sets to -1; errno is kept. */
void io_close(int *fd);

#endif
