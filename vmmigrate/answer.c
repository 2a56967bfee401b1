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

#define ANSWER_PEERS 16u      /* one target asks at a time; the rest is for strangers and retries */

struct answer {
	int            fds[ADDRESS_LISTEN];
	unsigned       nfds;
	pid_t          pid;
	struct address where;
};

static int answer_query(struct wire *w, struct message *query)
{
	struct fail ignored;

	wire_phase(w, WIRE_GREET_NS);
	if (wire_greet(w, false, &ignored) || wire_recv_message(w, query, WIRE_GREET_NS, &ignored))
		return -1;
	wire_phase(w, 0);
	return query->type == MSG_QUERY ? 0 : -1;
}

static void answer_one(int fd)
{
	struct message *query = calloc(1, sizeof(*query)), *reply = calloc(1, sizeof(*reply));
	struct wire    *w     = NULL;
	struct fail     ignored;

	if (!query || !reply) {
		close(fd);
	} else if (wire_open(&w, fd, "peer", &ignored) == 0 && answer_query(w, query) == 0) {
		outcome_query(query, reply);
		wire_send_message(w, reply, &ignored);
	}
	wire_close(w);
	free(reply);
	free(query);
}

/* A process for each peer, ANSWER_PEERS at most: one that is silent delays nobody else. */
static void answer_fork(const struct answer *a, int fd)
{
	static unsigned running;

	/* At the limit one of them must end first, which its deadlines see to. */
	while (running && waitpid(-1, NULL, running < ANSWER_PEERS ? WNOHANG : 0) > 0)
		running--;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Kept open, they would keep the port in use after the parent has exited. */
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
			else if (full)      /* out of descriptors: poll() would return at once */
				poll(NULL, 0, IO_ACCEPT_REST_NS / 1000000);
		}
	}
}

int answer_open(struct answer **out, const struct address *at, bool insecure, struct fail *why)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (!a)
		return fail_sys(why, "--answer");
	if (address_listen(at, insecure, a->fds, &a->nfds, why) ||
	    address_of_socket(&a->where, a->fds[0], false, why))
		goto fail;
	memcpy(a->where.host, at->host, sizeof(a->where.host));
	pid_t parent = getpid();

	a->pid = fork();
	if (a->pid == 0) {
		sigset_t none;

		/* It must not outlive the move. A parent that has exited already sends no
		 * signal. */
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
