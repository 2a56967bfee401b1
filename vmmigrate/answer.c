/* SPDX-License-Identifier: MIT */
#include "vmmigrate/answer.h"

#include "libcommon/io.h"
#include "vmmigrate/outcome.h"
#include "vmmigrate/wire.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_PEERS 16u

struct answer {
	int            fds[ADDRESS_LISTEN];
	unsigned       nfds;
	pid_t          pid;
	struct address where;
};

static void answer_one(int fd)
{
	struct message *m = calloc(2, sizeof(*m));
	struct wire    *w = NULL;
	struct fail     ignored;

	if (!m) {
		close(fd);
		return;
	}
	if (wire_open(&w, fd, "peer", &ignored) == 0 && (wire_phase(w, WIRE_GREET_NS), wire_greet(w, false, &ignored)) == 0 &&
	    wire_recv_message(w, &m[0], WIRE_GREET_NS, &ignored) == 0 && m[0].type == MSG_QUERY) {
		wire_phase(w, 0);
		outcome_query(&m[0], &m[1]);
		wire_send_message(w, &m[1], &ignored);
	}
	wire_close(w);
	free(m);
}

/* A process a peer, at most so many: one that says nothing delays nobody. */
static void answer_fork(const struct answer *a, int fd)
{
	static unsigned running;

	while (running && waitpid(-1, NULL, running < ANSWER_PEERS ? WNOHANG : 0) > 0)
		running--;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned i = 0; i < a->nfds; i++)
			close(a->fds[i]);
		answer_one(fd);
		_exit(0);
	}
	running += pid > 0;
	close(fd);
}

static void answer_serve(const struct answer *a) __attribute__((noreturn));
static void answer_serve(const struct answer *a)
{
	for (;;) {
		struct pollfd p[ADDRESS_LISTEN];

		for (unsigned i = 0; i < a->nfds; i++)
			p[i] = (struct pollfd){ .fd = a->fds[i], .events = POLLIN };
		if (poll(p, a->nfds, -1) <= 0)
			continue;
		for (unsigned i = 0; i < a->nfds; i++) {
			bool full = false;
			int  fd   = p[i].revents ? io_accept(a->fds[i], 0, &full) : -1;

			if (fd >= 0)
				answer_fork(a, fd);
			else if (full)
				poll(NULL, 0, IO_ACCEPT_REST_NS / 1000000);
		}
	}
}

int answer_open(struct answer **out, const struct address *at, bool insecure, struct fail *why)
{
	struct answer *a = calloc(1, sizeof(*a));
	if (!a)
		return fail_sys(why, "--answer");
	if (address_listen(at, insecure, a->fds, &a->nfds, why) || address_of_socket(&a->where, a->fds[0], false, why))
		goto fail;
	memcpy(a->where.host, at->host, sizeof(a->where.host));
	pid_t parent = getpid();

	a->pid = fork();
	if (a->pid == 0) {
		sigset_t none;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (getppid() != parent)
			_exit(0);
		answer_serve(a);
	}
	if (a->pid > 0) {
		*out = a;
		return 0;
	}
	fail_sys(why, "--answer: fork");
fail:
	answer_close(a);
	return -1;
}

void answer_close(struct answer *a)
{
	if (!a)
		return;
	if (a->pid > 0) {
		kill(a->pid, SIGKILL);
		waitpid(a->pid, NULL, 0);
	}
	for (unsigned i = 0; i < a->nfds; i++)
		io_close(&a->fds[i]);
	free(a);
}

const struct address *answer_where(const struct answer *a)
{
	return &a->where;
}
