/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_HOST_ACCEPT_H
#define VMRUN_HOST_ACCEPT_H

#include "vmrun/host/loop.h"

/* A listening socket on the main loop. When the process is out of descriptors the socket stays
 * readable and would keep the loop busy: it is ignored for IO_ACCEPT_REST_NS then, and its queue
 * is served when there are descriptors again. */

struct acceptor;
typedef void acceptor_fn(void *arg, int fd);      /* takes fd: non-blocking, CLOEXEC */

/* fd stays the caller's, and open until acceptor_close. */
int acceptor_open(struct acceptor **out, struct loop *l, int fd, acceptor_fn *fn, void *arg,
		  struct fail *why);
void acceptor_close(struct acceptor *a);          /* NULL allowed */

#endif
