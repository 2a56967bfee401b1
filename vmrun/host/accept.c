/* SPDX-License-Identifier: MIT */
#include "vmrun/host/accept.h"

#include "libcommon/io.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct acceptor {
	struct loop       *loop;
	struct loop_watch *watch;
	struct loop_timer *rest;      /* made beforehand: it needs a descriptor */
	int                fd;
	acceptor_fn       *fn;
	void              *arg;
};

static void acceptor_ready(void *arg, uint32_t events)
{
	struct acceptor *a = arg;
	bool             full;
	int              fd = io_accept(a->fd, SOCK_NONBLOCK, &full);

	(void)events;
	if (fd >= 0) {
		a->fn(a->arg, fd);
		return;
	}
	if (full) {
		loop_change(a->loop, a->watch, 0);
		loop_timer_set(a->rest, io_now_ns() + IO_ACCEPT_REST_NS);
	}
}

static void acceptor_rested(void *arg, uint32_t events)
{
	struct acceptor *a = arg;

	(void)events;
	loop_change(a->loop, a->watch, EPOLLIN);
}

int acceptor_open(struct acceptor **out, struct loop *l, int fd, acceptor_fn *fn, void *arg,
		  struct fail *why)
{
	struct acceptor *a = calloc(1, sizeof(*a));

	if (!a)
		return fail_sys(why, "listening socket");
	*a = (struct acceptor){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	a->rest = loop_timer_add(l, acceptor_rested, a, why);
	if (a->rest)
		a->watch = loop_add(l, fd, EPOLLIN, acceptor_ready, a, why);
	if (!a->watch) {
		acceptor_close(a);
		return -1;
	}
	*out = a;
	return 0;
}

void acceptor_close(struct acceptor *a)
{
	if (!a)
		return;
	loop_remove(a->loop, a->watch);
	loop_timer_remove(a->loop, a->rest);
	free(a);
}
