/* SPDX-License-Identifier: MIT */
#include "vmrun/control/server.h"

#include "libcommon/io.h"
#include "vmrun/control/lease_session.h"
#include "vmrun/control/lease_handover.h"
#include "vmrun/control/records.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SERVER_FLUSH_NS 1000000000u
#define SERVER_ALONE_NS 120000000000u      /* an incoming VM waits that long for its first lease */

void server_wake(struct control_server *s)
{
	uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0) {
		/* The counter is full: it is awake. */
	}
}

static void server_woken(void *arg, uint32_t events)
{
	struct control_server *s = arg;
	uint64_t               n;

	(void)events;
	if (read(s->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	sessions_reap(s);
	events_deliver(s);
	for (struct server_client *c = s->clients; c; c = c->next)
		client_flush(c);
	client_sweep(s);
}

/* Who started it has not taken the incoming lease, whose loss would have ended it. */
static void server_alone(void *arg, uint32_t events)
{
	struct control_server *s = arg;

	(void)events;
	pthread_mutex_lock(&s->vm->control_lock);
	if (!sessions_holder(s, LEASE_KIND_INCOMING, NULL))
		lease_handover_lost(s, "no lease within 120 s");
	pthread_mutex_unlock(&s->vm->control_lock);
}

/* Nobody else knows the token: without its starter nobody can ever take the first lease. */
static void server_orphaned(void *arg, uint32_t events)
{
	struct control_server *s = arg;

	(void)events;
	pthread_mutex_lock(&s->vm->control_lock);
	loop_remove(s->vm->loop, s->starter_watch);
	s->starter_watch = NULL;
	if (!s->token_used)
		lease_handover_lost(s, "process that started vmrun has ended");
	pthread_mutex_unlock(&s->vm->control_lock);
}

/* "PID.START.RANDOM": the process that started us, and what it will show to get its lease. */
static int server_starter(struct control_server *s, const char *token, struct fail *why)
{
	unsigned long long start;
	long               pid;

	snprintf(s->token, sizeof(s->token), "%s", token);
	if (sscanf(token, "%ld.%llu.", &pid, &start) != 2 || pid <= 0)
		return fail_set(why, FAIL_USAGE,
				"--token: invalid value (valid: PID.START.RANDOM)");
	s->starter_fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	/* Looked at behind the descriptor: a process that has taken over the number began later. */
	if (s->starter_fd < 0 || moves_start_time((pid_t)pid) != start)
		return fail_set(why, FAIL_PEER,
				"incoming: process that started vmrun (pid %ld) has ended", pid);
	s->starter_watch = loop_add(s->vm->loop, s->starter_fd, EPOLLIN, server_orphaned, s, why);
	return s->starter_watch ? 0 : -1;
}

static int server_watch(struct control_server *s, struct fail *why)
{
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return fail_sys(why, "%s: eventfd", s->path);
	s->wake_watch = loop_add(s->vm->loop, s->wake_fd, EPOLLIN, server_woken, s, why);
	if (!s->wake_watch)
		return -1;
	if (acceptor_open(&s->acceptor, s->vm->loop, s->listen_fd, client_accept, s, why))
		return -1;
	s->retry = loop_timer_add(s->vm->loop, records_retry, s, why);
	if (!s->retry)
		return -1;
	if (!runstate_held_by(s->vm, HOLD_INCOMING))
		return 0;
	s->alone = loop_timer_add(s->vm->loop, server_alone, s, why);
	if (!s->alone)
		return -1;
	loop_timer_set(s->alone, io_now_ns() + SERVER_ALONE_NS);
	return 0;
}

int control_server_open(struct control_server **out, struct vm *vm, const char *path,
			const char *token, struct fail *why)
{
	struct control_server *s = calloc(1, sizeof(*s));

	*out = NULL;
	if (!s) {
		errno = ENOMEM;
		return fail_sys(why, "control socket");
	}
	s->vm        = vm;
	s->listen_fd = s->lock_fd = s->wake_fd = s->move_lock = s->starter_fd = -1;
	s->queued_tail = &s->queued;
	pthread_mutex_init(&s->events_lock, NULL);
	if (token && server_starter(s, token, why)) {
		control_server_close(s);
		return -1;
	}
	if (socket_open(s, path, why) || server_watch(s, why) || records_open(s, why)) {
		control_server_close(s);
		return -1;
	}
	events_attach(vm, s);
	vm->on_event = control_server_event;
	*out = s;
	return 0;
}

/* Lets clients take their last answers and events: all together SERVER_FLUSH_NS, not a client. */
static void server_drain(struct control_server *s)
{
	uint64_t      until = io_now_ns() + SERVER_FLUSH_NS;
	struct pollfd p[SERVER_CLIENTS_MAX];

	for (;;) {
		nfds_t n = 0;

		for (struct server_client *c = s->clients; c; c = c->next) {
			client_flush(c);
			if (c->out && !c->dead && n < SERVER_CLIENTS_MAX)
				p[n++] = (struct pollfd){ .fd = c->fd, .events = POLLOUT };
		}
		uint64_t now = io_now_ns();

		if (n == 0 || now >= until)
			return;
		poll(p, n, (int)((until - now) / 1000000u) + 1);
	}
}

static json_t *server_epitaph(struct control_server *s)
{
	json_t *m = events_remembered(s);

	if (m) {
		json_object_set_new(m, "pid", json_integer(getpid()));
		json_object_set_new(m, "status",
				    json_string(run_status_names[runstate_status(s->vm)]));
		json_object_set_new(m, "exit", json_integer(s->vm->run.exit_status));
	}
	return m;
}

void control_server_close(struct control_server *s)
{
	if (!s)
		return;
	/* A host failure ends vmrun and so the VM, and that before a lease's pause is given back:
	 * the VM must not run again. */
	pthread_mutex_lock(&s->vm->control_lock);
	if (s->vm->control == s)
		vm_end(s->vm, RUN_INTERNAL_ERROR, 1, CAUSE_HOST_ERROR);
	pthread_mutex_unlock(&s->vm->control_lock);
	sessions_close(s);         /* their threads end; holders learn why */
	pthread_mutex_lock(&s->vm->control_lock);
	records_closing(s);
	pthread_mutex_unlock(&s->vm->control_lock);
	events_attach(s->vm, NULL);
	events_deliver(s);
	server_drain(s);
	while (s->clients) {
		struct server_client *c = s->clients;

		s->clients = c->next;
		client_close(c);
	}
	loop_timer_remove(s->vm->loop, s->alone);
	loop_timer_remove(s->vm->loop, s->retry);
	s->alone = s->retry = NULL;
	loop_remove(s->vm->loop, s->starter_watch);
	io_close(&s->starter_fd);
	acceptor_close(s->acceptor);
	loop_remove(s->vm->loop, s->wake_watch);
	socket_close(s, server_epitaph(s));
	io_close(&s->wake_fd);
	events_forget(s);
	records_close(s);
	pthread_mutex_destroy(&s->events_lock);
	free(s);
}
