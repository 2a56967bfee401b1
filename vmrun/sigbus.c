/* SPDX-License-Identifier: MIT */
#include "vmrun/sigbus.h"

#include "format/limits.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* A range is published by its address, which is stored last and read first: the handler may run in
 * any thread at any time. */
static struct sigbus_range {
	_Atomic uintptr_t at;      /* 0: free */
	size_t            size;
	bool            (*fn)(void *arg, uintptr_t addr);
	void             *arg;
} sigbus_ranges[LIMIT_REGIONS];

static pthread_once_t   sigbus_once = PTHREAD_ONCE_INIT;
static struct sigaction sigbus_before;
static int              sigbus_errno;

static bool sigbus_handled(uintptr_t addr)
{
	for (size_t i = 0; i < LIMIT_REGIONS; i++) {
		const struct sigbus_range *r  = &sigbus_ranges[i];
		uintptr_t                  at = atomic_load_explicit(&r->at, memory_order_acquire);

		if (at && addr >= at && addr - at < r->size)
			return r->fn(r->arg, addr);
	}
	return false;
}

static void sigbus_handler(int number, siginfo_t *info, void *context)
{
	/* Of an access that failed, and will be repeated when this returns; not sent by kill(2),
	 * nor the notice of a broken page that nobody has accessed. */
	const bool access = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
	const int  saved  = errno;

	(void)context;
	if (!access || !sigbus_handled((uintptr_t)info->si_addr)) {
		/* The handler before: it gets the repeated access, or this signal once more, which
		 * is blocked until this returns. */
		sigaction(SIGBUS, &sigbus_before, NULL);
		if (!access)
			raise(number);
	}
	errno = saved;
}

static void sigbus_install(void)
{
	struct sigaction act = { .sa_sigaction = sigbus_handler, .sa_flags = SA_SIGINFO };

	sigbus_errno = sigaction(SIGBUS, &act, &sigbus_before) ? errno : 0;
}

int sigbus_add(const void *at, size_t size, bool (*fn)(void *arg, uintptr_t addr), void *arg,
	       struct fail *why)
{
	pthread_once(&sigbus_once, sigbus_install);
	if (sigbus_errno) {
		errno = sigbus_errno;
		return fail_sys(why, "sigaction");
	}
	for (size_t i = 0; i < LIMIT_REGIONS; i++) {
		struct sigbus_range *r = &sigbus_ranges[i];

		if (atomic_load(&r->at))
			continue;
		r->size = size;
		r->fn   = fn;
		r->arg  = arg;
		atomic_store_explicit(&r->at, (uintptr_t)at, memory_order_release);
		return 0;
	}
	return fail_set(why, FAIL_LIMIT, "number of mapped files exceeds the limit of %u",
			LIMIT_REGIONS);
}

void sigbus_remove(const void *at)
{
	for (size_t i = 0; i < LIMIT_REGIONS; i++)
		if (atomic_load(&sigbus_ranges[i].at) == (uintptr_t)at)
			atomic_store(&sigbus_ranges[i].at, 0);
}
