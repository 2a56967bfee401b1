/* SPDX-License-Identifier: MIT */
#include "vmrun/host/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LOOP_BATCH 32

struct loop_watch {
	int                fd;
	loop_fn           *fn;
	void              *arg;
	_Atomic bool       dead;       /* removed: skipped by a batch that still names it */
	struct loop_watch *next;       /* among the dead */
};

struct loop_timer {
	int                fd;
	loop_fn           *fn;
	void              *arg;
	struct loop_watch *watch;
};

struct loop {
	int                epoll;
	int                wake;
	struct loop_watch *wake_watch;
	_Atomic bool       stop;
	pthread_mutex_t    lock;       /* the dead */
	struct loop_watch *dead;
};

/* Removed watches are freed here, after a batch: what epoll_wait returned may name one that another
 * thread removed since. */
static void loop_bury(struct loop *l)
{
	struct loop_watch *w;

	pthread_mutex_lock(&l->lock);
	w       = l->dead;
	l->dead = NULL;
	pthread_mutex_unlock(&l->lock);
	while (w) {
		struct loop_watch *next = w->next;

		free(w);
		w = next;
	}
}

static void loop_woken(void *arg, uint32_t events)
{
	struct loop *l = arg;
	uint64_t     n;

	(void)events;
	while (read(l->wake, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

int loop_open(struct loop **out, struct fail *why)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return fail_sys(why, "main loop");
	pthread_mutex_init(&l->lock, NULL);
	l->wake  = -1;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll >= 0)
		l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0) {
		fail_sys(why, "main loop");
		goto fail;
	}
	l->wake_watch = loop_add(l, l->wake, EPOLLIN, loop_woken, l, why);
	if (!l->wake_watch)
		goto fail;
	*out = l;
	return 0;
fail:
	loop_close(l);
	return -1;
}

void loop_close(struct loop *l)
{
	if (!l)
		return;
	loop_remove(l, l->wake_watch);
	loop_bury(l);
	if (l->wake >= 0)
		close(l->wake);
	if (l->epoll >= 0)
		close(l->epoll);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

struct loop_watch *loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
			    struct fail *why)
{
	struct loop_watch *w  = calloc(1, sizeof(*w));
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (!w) {
		fail_sys(why, "main loop");
		return NULL;
	}
	w->fd  = fd;
	w->fn  = fn;
	w->arg = arg;
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		fail_sys(why, "main loop");
		free(w);
		return NULL;
	}
	return w;
}

void loop_change(struct loop *l, struct loop_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &ev);
}

void loop_remove(struct loop *l, struct loop_watch *w)
{
	if (!w)
		return;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	atomic_store(&w->dead, true);
	pthread_mutex_lock(&l->lock);
	w->next = l->dead;
	l->dead = w;
	pthread_mutex_unlock(&l->lock);
}

static void loop_timer_ready(void *arg, uint32_t events)
{
	struct loop_timer *t = arg;
	uint64_t           n;

	/* Nothing to read: set again or disarmed between epoll_wait and here. */
	if (read(t->fd, &n, sizeof(n)) == sizeof(n))
		t->fn(t->arg, events);
}

struct loop_timer *loop_timer_add(struct loop *l, loop_fn *fn, void *arg, struct fail *why)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t) {
		fail_sys(why, "timer");
		return NULL;
	}
	t->fn  = fn;
	t->arg = arg;
	t->fd  = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (t->fd < 0) {
		fail_sys(why, "timer");
		goto fail;
	}
	t->watch = loop_add(l, t->fd, EPOLLIN, loop_timer_ready, t, why);
	if (t->watch)
		return t;
	close(t->fd);
fail:
	free(t);
	return NULL;
}

void loop_timer_set(struct loop_timer *t, uint64_t at_ns)
{
	struct itimerspec its = { .it_value = { .tv_sec  = (time_t)(at_ns / 1000000000),
						.tv_nsec = (long)(at_ns % 1000000000) } };

	timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &its, NULL);
}

void loop_timer_remove(struct loop *l, struct loop_timer *t)
{
	if (!t)
		return;
	loop_remove(l, t->watch);
	close(t->fd);
	free(t);
}

int loop_run(struct loop *l, struct fail *why)
{
	/* A stop from before the run counts, too. */
	while (!atomic_exchange(&l->stop, false)) {
		struct epoll_event ev[LOOP_BATCH];
		int                n = epoll_wait(l->epoll, ev, LOOP_BATCH, -1);

		if (n < 0 && errno != EINTR)
			return fail_sys(why, "main loop");
		for (int i = 0; i < n; i++) {
			struct loop_watch *w = ev[i].data.ptr;

			if (!atomic_load(&w->dead))
				w->fn(w->arg, ev[i].events);
		}
		loop_bury(l);
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	uint64_t one = 1;

	atomic_store(&l->stop, true);
	while (write(l->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}
