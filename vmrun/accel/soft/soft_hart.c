/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include "libcommon/io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <time.h>

/* A hart's thread, and requests of other threads to it.
 *
 * A request is a bit in req and limit = 0, which makes the executor call soft_event at its next
 * safe point. A hart that is `outside` (paused, idle, in wfi, waiting for others in an SBI call)
 * executes nothing, and takes its requests before it does again: for everybody else they are done.
 * It also takes them before it goes outside, so that the writes it made until then have been
 * reported (REQ_CODE). `ack` is the value that soft->seq had when a hart began to take its
 * requests: a requester sets the bit, then counts seq up, and waits for an ack at least as high, or
 * for outside. In the other order a hart that looks in between would acknowledge what it has not
 * taken, and go on to store through write tags that a dirty log sync believes dropped. */

/* Polls before a requester sleeps: harts that run answer within a microsecond, which is less than
 * a sleep and a wakeup take. */
#define SPINS      2000u
/* No more than this of the time since the last sleep counts as time that the hart ran: after a
 * pause, or when the throttle was just set, a hart must not sleep for seconds. */
#define NAP_RAN_NS 10000000u
/* A timer further away than this is looked at again after it, so that no sum overflows. */
#define DAY_NS     86400000000000u

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" : : : "memory");
#endif
}

static struct timespec ns_time(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

void soft_post(struct hart *h, uint32_t req)
{
	atomic_fetch_or(&h->req, req);
	atomic_store(&h->limit, 0);
}

uint64_t soft_send(struct soft *m, uint64_t mask, uint32_t req)
{
	uint64_t seq;

	for (uint32_t i = 0; i < m->nharts; i++)
		if (mask >> i & 1)
			atomic_fetch_or(&m->harts[i]->req, req);
	seq = atomic_fetch_add(&m->seq, 1) + 1;
	for (uint32_t i = 0; i < m->nharts; i++)
		if (mask >> i & 1)
			atomic_store(&m->harts[i]->limit, 0);
	return seq;
}

/* No wakeup is lost: this side writes req, then reads sleeping; the hart writes sleeping, then
 * reads req (hart_sleep). One of them sees the other's. */
void soft_kick(struct hart *h, uint32_t req)
{
	soft_post(h, req);
	if (!atomic_load(&h->sleeping))
		return;
	pthread_mutex_lock(&h->soft->lock);
	pthread_cond_broadcast(&h->wake);
	pthread_mutex_unlock(&h->soft->lock);
}

static void soft_tell_waiters(struct soft *m)
{
	if (!atomic_load(&m->waiters))
		return;
	pthread_mutex_lock(&m->lock);
	pthread_cond_broadcast(&m->acks);
	pthread_mutex_unlock(&m->lock);
}

/* With or without lock; does not signal acks. seq is read before req, so that ack does not cover a
 * request that is made in the meantime; ack is stored last, when all is done. */
static void requests_take(struct hart *h)
{
	uint64_t seq = atomic_load(&h->soft->seq);
	uint32_t req = atomic_exchange(&h->req, 0);

	if (req & REQ_CODE)      /* needs the write tags that REQ_WDROP drops */
		rv64_tlb_drop_code(h);
	if (req & REQ_WDROP)
		rv64_tlb_drop_writes(h);
	if (req & REQ_TLB)
		rv64_tlb_flush(h);
	else if (req & REQ_FENCEI)
		rv64_ftlb_flush(h);
	atomic_store(&h->ack, seq);
}

void soft_requests(struct hart *h)
{
	requests_take(h);
	soft_tell_waiters(h->soft);
}

/* Have the harts in mask taken their requests up to seq? */
static bool asked(const struct soft *m, uint64_t mask, uint64_t seq)
{
	for (uint32_t i = 0; i < m->nharts; i++)
		if (mask >> i & 1 && atomic_load(&m->harts[i]->ack) < seq &&
		    !atomic_load(&m->harts[i]->outside))
			return false;
	return true;
}

bool soft_asked(const struct soft *m, const struct hart *self, uint64_t seq)
{
	return asked(m, ~((uint64_t)1 << self->id), seq);
}

static void outside_enter(struct hart *h)      /* with lock */
{
	requests_take(h);
	atomic_store(&h->outside, true);
	pthread_cond_broadcast(&h->soft->acks);
}

static void outside_leave(struct hart *h)      /* with lock */
{
	atomic_store(&h->outside, false);
	requests_take(h);
	pthread_cond_broadcast(&h->soft->acks);
}

/* until: host ns, 0: without limit. */
static bool soft_request(struct soft *m, struct hart *self, uint64_t mask, uint32_t req,
			 uint64_t until)
{
	struct timespec ts    = ns_time(until);
	unsigned        spins = SPINS;
	uint64_t        seq;
	bool            done;

	pthread_mutex_lock(&m->lock);
	seq = soft_send(m, mask, req);
	/* Two harts may ask each other: outside, this one's answer is not waited for. */
	if (self)
		outside_enter(self);
	pthread_mutex_unlock(&m->lock);
	while (!asked(m, mask, seq) && --spins)
		cpu_relax();
	pthread_mutex_lock(&m->lock);
	/* Before asked is read: a hart that acknowledges later sees a waiter, and signals. */
	atomic_fetch_add(&m->waiters, 1);
	for (;;) {
		int rc = 0;

		done = asked(m, mask, seq);
		if (done)
			break;
		if (until)
			rc = pthread_cond_timedwait(&m->acks, &m->lock, &ts);
		else
			pthread_cond_wait(&m->acks, &m->lock);
		if (rc == ETIMEDOUT) {
			done = asked(m, mask, seq);
			break;
		}
	}
	atomic_fetch_sub(&m->waiters, 1);
	if (self)
		outside_leave(self);
	pthread_mutex_unlock(&m->lock);
	return done;
}

void soft_ask(struct soft *m, struct hart *self, uint64_t mask, uint32_t req)
{
	soft_request(m, self, mask, req, 0);
}

bool soft_ask_within(struct soft *m, uint64_t mask, uint32_t req, uint64_t ns)
{
	return soft_request(m, NULL, mask, req, io_now_ns() + ns);
}

/* ---- safe points ---- */

/* With lock: waits on h->wake until until_ns (host ns; 0: without limit) or a request. */
static void hart_sleep(struct hart *h, uint64_t until_ns)
{
	atomic_store(&h->sleeping, true);
	if (!atomic_load(&h->req)) {
		if (until_ns) {
			struct timespec ts = ns_time(until_ns);

			pthread_cond_timedwait(&h->wake, &h->soft->lock, &ts);
		} else {
			pthread_cond_wait(&h->wake, &h->soft->lock);
		}
	}
	atomic_store(&h->sleeping, false);
}

/* The throttle's sleep: so long that of the time since the last one, percent is slept. The timer
 * thread asks for it several times in 10 ms. */
static void hart_nap(struct hart *h)
{
	struct soft *m = h->soft;
	uint64_t     now = io_now_ns(), until, ran;

	pthread_mutex_lock(&m->lock);
	ran   = now - h->nap_end < NAP_RAN_NS ? now - h->nap_end : NAP_RAN_NS;
	until = now + ran * m->throttle / (100 - m->throttle);
	outside_enter(h);
	while (!m->held && !m->closing && m->throttle && io_now_ns() < until) {
		hart_sleep(h, until);
		requests_take(h);
	}
	h->nap_end = io_now_ns();
	outside_leave(h);
	pthread_mutex_unlock(&m->lock);
}

static bool hart_must_leave(const struct hart *h)
{
	return __atomic_load_n(&h->soft->held, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&h->soft->closing, __ATOMIC_ACQUIRE) ||
	       h->stuck || h->s.wfi || __atomic_load_n(&h->s.hsm, __ATOMIC_ACQUIRE) != HSM_STARTED;
}

bool soft_event(struct hart *h)
{
	/* limit before req: a request that comes in between is seen in req; one that comes later
	 * sets limit again. */
	atomic_store(&h->limit, UINT64_MAX);
	if (atomic_load(&h->req) & REQ_NAP)
		hart_nap(h);
	soft_requests(h);
	rv64_timer_look(h);
	if (h->s.wfi && rv64_sip(h) & h->s.sie && h->s.hsm == HSM_STARTED)
		h->s.wfi = false;
	if (hart_must_leave(h))
		return false;
	rv64_irq_take(h);
	return true;
}

/* ---- the thread ---- */

/* With lock, outside. True: it may run now. Else *until_ns is when to look again, 0: when woken. */
static bool hart_runnable(struct hart *h, uint64_t *until_ns)
{
	struct hart_state *s = &h->s;

	*until_ns = 0;
	if (h->stuck || s->hsm == HSM_STOPPED)
		return false;
	if (s->hsm == HSM_START_PENDING) {
		uint64_t start = s->hsm_start, opaque = s->hsm_opaque, instret = s->instret;

		rv64_reset(h, true, start, opaque);
		s->instret = instret;
		rv64_tlb_flush(h);
		return true;
	}
	if (!s->wfi)
		return true;
	rv64_timer_look(h);
	if (rv64_sip(h) & s->sie) {
		s->wfi = false;
		s->hsm = HSM_STARTED;
		return true;
	}
	if (s->sie >> IRQ_STI & 1 && s->stimecmp != UINT64_MAX) {
		uint64_t at   = soft_ticks_ns(h->soft, s->stimecmp);
		uint64_t now  = clock_now_ns(&h->vm->clock);
		uint64_t wait = at > now ? at - now : 0;

		*until_ns = io_now_ns() + (wait < DAY_NS ? wait : DAY_NS);
	}
	return false;
}

/* With lock, which is dropped while guest code runs. */
static void hart_execute(struct hart *h)
{
	struct soft *m = h->soft;

	atomic_store(&h->outside, false);
	requests_take(h);
	pthread_cond_broadcast(&m->acks);
	pthread_mutex_unlock(&m->lock);

	memcpy(h->x, h->s.x, sizeof(h->s.x));
	h->x[RV64_SINK] = 0;
	rv64_tlb_mode(h);
	soft_timer_arm(h);
	atomic_store(&h->limit, 0);
	rv64_run(h);
	memcpy(h->s.x, h->x, sizeof(h->s.x));
	atomic_store(&h->timer_at, UINT64_MAX);

	pthread_mutex_lock(&m->lock);
	outside_enter(h);
}

void *soft_hart_main(void *arg)
{
	struct hart *h = arg;
	struct soft *m = h->soft;
	uint64_t     until;
	char         name[16];

	atomic_store(&h->tid, gettid());
	snprintf(name, sizeof(name), "cpu %u", h->id);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(&m->lock);
	while (!m->closing) {
		requests_take(h);
		if (m->held) {
			h->stuck  = false;
			h->parked = true;
			pthread_cond_broadcast(&m->acks);
			hart_sleep(h, 0);
			continue;
		}
		h->parked = false;
		if (hart_runnable(h, &until))
			hart_execute(h);
		else
			hart_sleep(h, until);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}
