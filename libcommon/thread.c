/* SPDX-License-Identifier: MIT */
#include "libcommon/thread.h"

#include <errno.h>
#include <signal.h>

int thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg, const char *what,
		 struct fail *why)
{
	sigset_t all, before;
	int      err;

	/* A thread inherits the mask of the one that starts it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(t, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = err;
	return err ? fail_sys(why, "%s: thread", what) : 0;
}
