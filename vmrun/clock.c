/* SPDX-License-Identifier: MIT */
#include "vmrun/clock.h"

#include "libcommon/io.h"

#include <stdatomic.h>

/* A sequence lock without fences (ThreadSanitizer does not know them): the writer's fetch_add is a
 * full barrier, each field is loaded with acquire and stored with release. A reader that saw the
 * same even number twice read the host's clock before the writer did, so that time never goes back
 * across a stop. Writers are serialised by control_lock. */

static void clock_change_begin(struct vm_clock *c)
{
	atomic_fetch_add(&c->seq, 1);
}

static void clock_change_end(struct vm_clock *c)
{
	atomic_fetch_add(&c->seq, 1);
}

void clock_open(struct vm_clock *c)
{
	clock_change_begin(c);
	atomic_store(&c->running, false);
	atomic_store(&c->offset, 0);
	atomic_store(&c->frozen_ns, 0);
	atomic_store(&c->boot_realtime_ns, io_realtime_ns());
	clock_change_end(c);
}

void clock_start(struct vm_clock *c)
{
	if (atomic_load(&c->running))
		return;
	clock_change_begin(c);
	atomic_store(&c->offset, atomic_load(&c->frozen_ns) - io_now_ns());
	atomic_store(&c->running, true);
	clock_change_end(c);
}

void clock_stop(struct vm_clock *c)
{
	if (!atomic_load(&c->running))
		return;
	clock_change_begin(c);
	atomic_store(&c->frozen_ns, io_now_ns() + atomic_load(&c->offset));
	atomic_store(&c->running, false);
	clock_change_end(c);
}

uint64_t clock_now_ns(const struct vm_clock *c)
{
	for (;;) {
		uint32_t seq = atomic_load_explicit(&c->seq, memory_order_acquire);
		uint64_t now;

		if (seq & 1)
			continue;
		if (atomic_load_explicit(&c->running, memory_order_acquire))
			now = io_now_ns() + atomic_load_explicit(&c->offset, memory_order_acquire);
		else
			now = atomic_load_explicit(&c->frozen_ns, memory_order_acquire);
		if (atomic_load_explicit(&c->seq, memory_order_acquire) == seq)
			return now;
	}
}

uint64_t clock_realtime_ns(const struct vm_clock *c)
{
	return atomic_load(&c->boot_realtime_ns) + clock_now_ns(c);
}

void clock_save(const struct vm_clock *c, struct clock_state *s)
{
	s->guest_ns         = clock_now_ns(c);
	s->realtime_ns      = io_realtime_ns();
	s->boot_realtime_ns = atomic_load(&c->boot_realtime_ns);
}

void clock_load(struct vm_clock *c, const struct clock_state *s, enum clock_policy policy)
{
	uint64_t now = io_realtime_ns(), guest = s->guest_ns;

	/* A host whose wall clock is behind the saver's adds nothing: guest time never goes
	 * back. */
	if (policy == CLOCK_ADVANCE && now > s->realtime_ns &&
	    now - s->realtime_ns <= UINT64_MAX - guest)
		guest += now - s->realtime_ns;
	clock_change_begin(c);
	atomic_store(&c->frozen_ns, guest);
	atomic_store(&c->offset, atomic_load(&c->running) ? guest - io_now_ns() : 0);
	atomic_store(&c->boot_realtime_ns, s->boot_realtime_ns);
	clock_change_end(c);
}
