/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include "libcommon/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The software CPU as a backend: accel.h's functions. The harts' threads are in soft_hart.c. */

#define SOFT_HARTS_MAX (sizeof(((struct soft *)0)->harts) / sizeof(struct hart *))
/* A hart stops within microseconds unless it is in a device access; accel.h promises 10 s. */
#define PATIENCE_NS    10000000000u

static struct soft *soft_of(struct accel *a) { return (struct soft *)(void *)a; }

static int soft_probe(enum machine_type type, struct fail *why)
{
	if (machine_types[type].cpu != MACHINE_CPU_RISCV64)
		return fail_set(why, FAIL_REFUSED,
				"machine type %s not supported by the software CPU",
				machine_type_name(type));
	return 0;
}

static void hart_close(struct hart *h)
{
	if (!h)
		return;
	if (h->threaded)
		pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->wake);
	rv64_code_close(h);
	free(h);
}

static void soft_close(struct accel *a)
{
	struct soft *m = soft_of(a);

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->closing, true, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < m->nharts; i++)
		if (m->harts[i]) {
			soft_post(m->harts[i], REQ_LOOK);
			pthread_cond_broadcast(&m->harts[i]->wake);
		}
	pthread_mutex_unlock(&m->lock);
	/* Before the harts: its thread posts to them. */
	soft_timer_close(m);
	for (uint32_t i = 0; i < m->nharts; i++)
		hart_close(m->harts[i]);
	pthread_cond_destroy(&m->timer_wake);
	pthread_cond_destroy(&m->acks);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* Deadlines are on io_now_ns's clock: CLOCK_REALTIME may be set back. */
static void cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

static int hart_open(struct soft *m, uint32_t id, struct fail *why)
{
	struct hart *h = calloc(1, sizeof(*h));

	if (!h)
		return fail_sys(why, "hart %" PRIu32, id);
	m->harts[id] = h;
	h->soft      = m;
	h->vm        = m->a.vm;
	h->id        = id;
	cond_init(&h->wake);
	atomic_store(&h->outside, true);
	atomic_store(&h->timer_at, UINT64_MAX);
	rv64_reset(h, false, 0, 0);
	return rv64_code_open(h, why);
}

static int soft_open(struct accel **out, struct vm *vm, struct fail *why)
{
	const uint64_t hz = vm->cfg.timebase_hz;
	struct soft   *m;

	if (vm->cfg.ncpus == 0 || vm->cfg.ncpus > SOFT_HARTS_MAX)
		return fail_set(why, FAIL_LIMIT,
				"software CPU: number of CPUs out of range: %" PRIu32
				" (valid: 1 to %zu)", vm->cfg.ncpus, SOFT_HARTS_MAX);
	if (hz == 0 || hz > 1000000000u)
		return fail_set(why, FAIL_LIMIT, "software CPU: invalid timebase: %" PRIu64 " Hz",
				hz);
	m = calloc(1, sizeof(*m));
	if (!m)
		return fail_sys(why, "software CPU");
	m->a.ops       = &accel_soft_ops;
	m->a.vm        = vm;
	m->nharts      = vm->cfg.ncpus;
	m->timebase    = hz;
	m->tick_div    = 1000000000u % hz ? 0 : 1000000000u / hz;
	m->held        = true;
	m->patience_ns = PATIENCE_NS;
	pthread_mutex_init(&m->lock, NULL);
	cond_init(&m->acks);
	cond_init(&m->timer_wake);
	/* All harts before the first thread, because each looks at the others. */
	for (uint32_t i = 0; i < m->nharts; i++)
		if (hart_open(m, i, why))
			goto fail;
	for (uint32_t i = 0; i < m->nharts; i++) {
		errno = pthread_create(&m->harts[i]->thread, NULL, soft_hart_main, m->harts[i]);
		if (errno) {
			fail_sys(why, "hart %" PRIu32 ": thread", i);
			goto fail;
		}
		m->harts[i]->threaded = true;
	}
	if (soft_timer_open(m, why))
		goto fail;
	*out = &m->a;
	return 0;
fail:
	soft_close(&m->a);
	return -1;
}

static void soft_resume(struct accel *a)
{
	struct soft *m = soft_of(a);

	pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->held, false, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < m->nharts; i++)
		pthread_cond_broadcast(&m->harts[i]->wake);
	pthread_cond_signal(&m->timer_wake);
	pthread_mutex_unlock(&m->lock);
}

static int soft_pause(struct accel *a, struct fail *why)
{
	struct soft    *m = soft_of(a);
	const uint64_t  until = io_now_ns() + m->patience_ns;
	struct timespec ts = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
	int             rc = 0;

	pthread_mutex_lock(&m->lock);
	/* Before the posts: a hart that takes the request looks at held. */
	__atomic_store_n(&m->held, true, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < m->nharts; i++) {
		soft_post(m->harts[i], REQ_LOOK);
		pthread_cond_broadcast(&m->harts[i]->wake);
	}
	atomic_fetch_add(&m->waiters, 1);
	for (uint32_t i = 0; i < m->nharts && rc == 0; i++)
		while (!m->harts[i]->parked && rc == 0)
			if (pthread_cond_timedwait(&m->acks, &m->lock, &ts) == ETIMEDOUT &&
			    !m->harts[i]->parked)
				rc = fail_set(why, FAIL_SYSTEM,
						"hart %" PRIu32
						": timed out waiting for it to stop", i);
	atomic_fetch_sub(&m->waiters, 1);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* Paused: drops what was derived from the state that s had before. */
static void hart_derived_drop(struct hart *h)
{
	rv64_tlb_flush(h);
	rv64_code_drop(h);
	atomic_store(&h->timer_at, UINT64_MAX);
}

static int soft_reset(struct accel *a, const struct boot_entry *entry, struct fail *why)
{
	struct soft *m = soft_of(a);

	if (entry && entry->how != BOOT_RISCV)
		return fail_set(why, FAIL_REFUSED, "software CPU: unsupported boot entry");

	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->nharts; i++) {
		const bool starts = i == 0 && entry;

		m->harts[i]->s.ssip = false;
		rv64_reset(m->harts[i], i == 0, starts ? entry->pc : 0, starts ? entry->arg : 0);
		hart_derived_drop(m->harts[i]);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int soft_post_load(struct accel *a, enum clock_policy policy, struct fail *why)
{
	struct soft *m = soft_of(a);

	(void)policy, (void)why;
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->nharts; i++)
		hart_derived_drop(m->harts[i]);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static void soft_irq(struct accel *a, uint32_t cpu, enum accel_irq line, bool level)
{
	struct soft *m = soft_of(a);

	if (line != IRQ_S_EXT || cpu >= m->nharts)
		return;
	/* Only a rising line needs attention: a falling one is seen when sip is read. */
	if (atomic_exchange(&m->harts[cpu]->ext, level) != level && level)
		soft_kick(m->harts[cpu], REQ_LOOK);
}

static int soft_thread(const struct accel *a, uint32_t cpu)
{
	const struct soft *m = (const struct soft *)(const void *)a;

	return cpu < m->nharts ? atomic_load(&m->harts[cpu]->tid) : 0;
}

static int soft_sync_dirty_log(struct accel *a, uint64_t *const taken[], struct fail *why)
{
	struct soft *m = soft_of(a);

	(void)taken;
	/* The marks are in the regions already: all there is to do is to take the write tags that
	 * let harts store without marking. With a time limit: the caller holds control_lock, and a
	 * device access that does not end must not block the control socket. */
	if (!soft_ask_within(m, ((uint64_t)1 << m->nharts) - 1, REQ_WDROP, m->patience_ns))
		return fail_set(why, FAIL_SYSTEM,
				"dirty log: timed out waiting for a hart in a device access");
	return 0;
}

static size_t soft_sections(struct accel *a, uint32_t cpu, struct state_section *out, size_t max)
{
	struct soft *m = soft_of(a);

	if (cpu >= m->nharts || max < 1)
		return 0;
	*out = (struct state_section){
		.node = "hart", .table = &hart_state_table, .s = &m->harts[cpu]->s,
	};
	return 1;
}

static void soft_throttle(struct accel *a, unsigned percent)
{
	struct soft *m = soft_of(a);

	pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->throttle, percent > 99 ? 99 : percent, __ATOMIC_RELAXED);
	pthread_cond_signal(&m->timer_wake);
	pthread_mutex_unlock(&m->lock);
}

/* The hart may be counting: the value is exact only while it is paused. */
static uint64_t counter(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

static size_t soft_counters(struct accel *a, uint32_t cpu, struct accel_counter *out, size_t max)
{
	struct soft       *m = soft_of(a);
	const struct hart *h = cpu < m->nharts ? m->harts[cpu] : NULL;
	size_t             n = 0;

	if (!h)
		return 0;

	const struct accel_counter all[] = {
		{ "instructions",     counter(&h->s.instret) },
		{ "traps",            counter(&h->n_traps)   },
		{ "interrupts",       counter(&h->n_irqs)    },
		{ "page-walks",       counter(&h->n_walks)   },
		{ "code-pages",       counter(&h->n_pages)   },
		{ "code-pages-stale", counter(&h->n_stale)   },
		{ "device-accesses",  counter(&h->n_mmio)    },
		{ "sbi-calls",        counter(&h->n_sbi)     },
	};

	for (; n < sizeof(all) / sizeof(all[0]) && n < max; n++)
		out[n] = all[n];
	return n;
}

const struct accel_ops accel_soft_ops = {
	.name     = "soft",
	.cpus_max = SOFT_HARTS_MAX,
	.probe    = soft_probe,
	.open     = soft_open,
	.reset    = soft_reset,
	.thread   = soft_thread,
	.resume   = soft_resume,
	.pause    = soft_pause,
	.irq      = soft_irq,
	.sync_dirty_log  = soft_sync_dirty_log,
	.sections    = soft_sections,
	.post_load = soft_post_load,
	.throttle = soft_throttle,
	.counters = soft_counters,
	.selftest = soft_selftest,
	.close    = soft_close,
};
