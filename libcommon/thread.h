/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_THREAD_H
#define LIBCOMMON_THREAD_H

#include "libcommon/fail.h"

#include <pthread.h>

/* Starts a thread that takes no signal: they are the main thread's. what: for messages.
 * FAIL_SYSTEM, and then there is none. */
int thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg, const char *what,
		 struct fail *why);

#endif
