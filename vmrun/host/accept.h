/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_HOST_ACCEPT_H
#define VMRUN_HOST_ACCEPT_H

#include "vmrun/host/loop.h"

/* A listening socket on the main loop. While there are no descriptors for a connection the socket
 * stays readable: it is left alone for IO_ACCEPT_REST_NS then, and what waits in its queue is
 * served once there are some again. */

struct acceptor;
typedef void acceptor_fn(void *arg, int fd);      /* takes fd: non-blocking, CLOEXEC */

/* fd stays the caller's, and open until acceptor_close. */
int acceptor_open(struct acceptor **out, struct loop *l, int fd, acceptor_fn *fn, void *arg,
		  struct fail *why);
void acceptor_close(struct acceptor *a);          /* NULL allowed */

#endif
