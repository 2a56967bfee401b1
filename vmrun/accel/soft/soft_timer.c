/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include "libcommon/io.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* One thread that interrupts running harts: when stimecmp is reached, and for the throttle when
 * each has run its share of 10 ms. Harts that are idle sleep until their own deadline
 * (soft_hart.c). */

#define THROTTLE_NS 100000u      /* a percent of 10 ms */
#define DAY_NS      86400000000000u      /* the longest sleep, so that no sum overflows */

uint64_t soft_ticks(const struct soft *m, uint64_t ns)
{
	if (m->tick_div)
		return ns / m->tick_div;
	return (uint64_t)((unsigned __int128)ns * m->timebase / 1000000000u);
}

uint64_t soft_ticks_ns(const struct soft *m, uint64_t ticks)
{
	unsigned __int128 ns = ticks;

	if (m->tick_div)
		ns *= m->tick_div;
	else
		ns = (ns * 1000000000u + m->timebase - 1) / m->timebase;
	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

void soft_timer_arm(struct hart *h)
{
	struct soft *m = h->soft;
	uint64_t     at = UINT64_MAX;

	rv64_timer_look(h);
	if (h->timer)
		atomic_store(&h->limit, 0);
	else if (h->s.stimecmp != UINT64_MAX && h->s.sie >> IRQ_STI & 1)
		at = soft_ticks_ns(m, h->s.stimecmp);
	atomic_store(&h->timer_at, at);
	if (at >= atomic_load(&m->timer_next))
		return;
	pthread_mutex_lock(&m->lock);
	pthread_cond_signal(&m->timer_wake);
	pthread_mutex_unlock(&m->lock);
}

static void *timer_main(void *arg)
{
	struct soft *m = arg;
	uint64_t     period = 0;      /* host ns at which the throttle next stops the harts */

	pthread_mutex_lock(&m->lock);
	while (!m->closing) {
		uint64_t        now, host, next = UINT64_MAX, sleep;
		struct timespec ts;

		if (m->held) {
			/* soft_resume wakes this thread: no hart needs to. */
			atomic_store(&m->timer_next, 0);
			pthread_cond_wait(&m->timer_wake, &m->lock);
			continue;
		}
		now  = clock_now_ns(&m->a.vm->clock);
		host = io_now_ns();
		/* Before the harts' timer_at are read: a hart that sets its own after that sees
		 * this timer_next, and takes the lock to wake this thread, which sleeps by then. */
		atomic_store(&m->timer_next, UINT64_MAX);
		for (uint32_t i = 0; i < m->nharts; i++) {
			struct hart *h = m->harts[i];
			uint64_t     at = atomic_load(&h->timer_at);

			if (at <= now) {
				atomic_compare_exchange_strong(&h->timer_at, &at, UINT64_MAX);
				soft_post(h, REQ_LOOK);
				pthread_cond_broadcast(&h->wake);
			} else if (at < next) {
				next = at;
			}
		}
		sleep = next - now < DAY_NS ? next - now : DAY_NS;
		if (m->throttle) {
			if (host >= period) {
				/* At least 5 % of 10 ms, as more frequent stops would cost
				 * more than they slow. */
				period = host +
					 (m->throttle < 95 ? 100 - m->throttle : 5) * THROTTLE_NS;
				for (uint32_t i = 0; i < m->nharts; i++)
					soft_post(m->harts[i], REQ_NAP);
			}
			sleep = sleep < period - host ? sleep : period - host;
		}
		atomic_store(&m->timer_next, next);
		/* A hart that has set an earlier one since then is about to wake this thread: do
		 * not sleep first. */
		for (uint32_t i = 0; i < m->nharts; i++)
			if (atomic_load(&m->harts[i]->timer_at) < next)
				sleep = 0;
		if (!sleep)
			continue;
		ts = (struct timespec){ (time_t)((host + sleep) / 1000000000u),
					(long)((host + sleep) % 1000000000u) };
		pthread_cond_timedwait(&m->timer_wake, &m->lock, &ts);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

int soft_timer_open(struct soft *m, struct fail *why)
{
	errno = pthread_create(&m->timer, NULL, timer_main, m);
	if (errno)
		return fail_sys(why, "timer thread");
	m->timer_threaded = true;
	return 0;
}

void soft_timer_close(struct soft *m)      /* closing is set */
{
	if (!m->timer_threaded)
		return;
	pthread_mutex_lock(&m->lock);
	pthread_cond_signal(&m->timer_wake);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->timer, NULL);
}
