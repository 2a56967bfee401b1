/* SPDX-License-Identifier: MIT */
#include "vmsnap/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t interrupt_gate = PTHREAD_MUTEX_INITIALIZER;
static void          (*interrupt_cleanup)(void *arg);
static void           *interrupt_arg;
static const char      *interrupt_outcome;
static sigset_t        interrupt_set;

/* Standard error may be a pipe that is full: then no line is written. */
static void interrupt_say(int sig)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	char          line[128];
	int           n;

	n = snprintf(line, sizeof(line), "vmsnap: interrupted by SIG%s: %s\n", sigabbrev_np(sig),
		     interrupt_outcome);
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) &&
	    write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static void *interrupt_thread(void *arg)
{
	int sig;

	(void)arg;
	if (sigwait(&interrupt_set, &sig))
		return NULL;
	pthread_mutex_lock(&interrupt_gate);
	if (interrupt_cleanup)
		interrupt_cleanup(interrupt_arg);
	interrupt_say(sig);
	signal(sig, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &interrupt_set, NULL);
	raise(sig);
	_exit(128 + sig);
}

int interrupt_start(const char *outcome, struct fail *why)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	pthread_t        thread;

	interrupt_outcome = outcome;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&interrupt_set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&interrupt_set, signals[i]);
	}
	pthread_sigmask(SIG_BLOCK, &interrupt_set, NULL);
	errno = pthread_create(&thread, NULL, interrupt_thread, NULL);
	if (errno)
		return fail_sys(why, "signal thread");
	pthread_detach(thread);
	return 0;
}

void interrupt_hold(void)
{
	pthread_mutex_lock(&interrupt_gate);
}

void interrupt_release(void (*cleanup)(void *arg), void *arg)
{
	interrupt_cleanup = cleanup;
	interrupt_arg     = arg;
	pthread_mutex_unlock(&interrupt_gate);
}
