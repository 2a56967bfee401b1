/* SPDX-License-Identifier: MIT */
/* The guest's clock: stopped while the VM does not run, never goes back, continues where it was
 * after a load. */
#include "tests/unit/tap.h"

#include "libcommon/io.h"
#include "vmrun/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void spin(uint64_t ns)
{
	uint64_t end = io_now_ns() + ns;

	while (io_now_ns() < end)
		;
}

struct reader {
	struct vm_clock *c;
	_Atomic bool     stop, ready;
	bool             went_back;
};

static void *reader_main(void *arg)
{
	struct reader *r    = arg;
	uint64_t       last = 0;

	while (!r->stop) {
		uint64_t now = clock_now_ns(r->c);

		r->went_back = r->went_back || now < last;
		last         = now;
		r->ready     = true;
	}
	return NULL;
}

static bool never_back(void)
{
	struct vm_clock c = { 0 };
	struct reader   r = { .c = &c };
	pthread_t       t;

	clock_open(&c);
	if (pthread_create(&t, NULL, reader_main, &r))
		abort();
	while (!r.ready)
		;
	for (int i = 0; i < 20000; i++) {
		clock_start(&c);
		clock_stop(&c);
	}
	r.stop = true;
	pthread_join(t, NULL);
	return !r.went_back;
}

int main(void)
{
	struct vm_clock    c = { 0 }, d = { 0 };
	struct clock_state s = { 0 };
	uint64_t           t;

	clock_open(&c);
	spin(1000000);
	ok(clock_now_ns(&c) == 0, "a new clock begins at 0");
	clock_start(&c);
	spin(2000000);
	t = clock_now_ns(&c);
	ok(t >= 2000000, "it runs once started");
	clock_stop(&c);
	t = clock_now_ns(&c);
	spin(1000000);
	ok(clock_now_ns(&c) == t, "it is stopped while the VM is paused");
	clock_stop(&c);
	clock_start(&c);
	ok(clock_now_ns(&c) - t < 1000000000u, "a pause is not made up for");
	clock_stop(&c);
	clock_save(&c, &s);
	ok(s.guest_ns == clock_now_ns(&c) && s.realtime_ns > 0, "what is saved is what it shows");
	clock_open(&d);
	clock_load(&d, &s, CLOCK_FREEZE);
	ok(clock_now_ns(&d) == s.guest_ns &&
	   clock_realtime_ns(&d) == s.boot_realtime_ns + s.guest_ns, "freeze goes on where it was");
	s.realtime_ns -= 3600ull * 1000000000u;
	clock_load(&d, &s, CLOCK_ADVANCE);
	ok(clock_now_ns(&d) >= s.guest_ns + 3600ull * 1000000000u &&
	   clock_now_ns(&d) < s.guest_ns + 3700ull * 1000000000u,
	   "advance jumps by the time that has passed");
	s.realtime_ns = io_realtime_ns() + 3600ull * 1000000000u;
	clock_load(&d, &s, CLOCK_ADVANCE);
	ok(clock_now_ns(&d) == s.guest_ns, "a saver's wall clock ahead of ours takes nothing away");
	s.guest_ns    = UINT64_MAX - 5;
	s.realtime_ns = 0;
	clock_load(&d, &s, CLOCK_ADVANCE);
	ok(clock_now_ns(&d) == UINT64_MAX - 5, "a hostile time does not wrap around");
	clock_open(&d);
	ok(clock_now_ns(&d) == 0, "a reset begins at 0 again");
	ok(never_back(), "time never goes back across 20000 stops, seen from another thread");
	return done_testing();
}
