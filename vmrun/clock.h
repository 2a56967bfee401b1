/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CLOCK_H
#define VMRUN_CLOCK_H

#include "format/tree/machine.h"
#include "format/state/state_clock.h"

#include <stdbool.h>
#include <stdint.h>

/* The guest's clock: nanoseconds since power-on, which do not pass while the VM is paused. Saved as
 * section "clock". Reading is lock-free, any thread; changes are made under vm->control_lock. */

struct vm_clock {
	_Atomic uint32_t seq;          /* odd while start, stop or load changes what follows */
	_Atomic uint64_t offset;       /* running: guest_ns = CLOCK_MONOTONIC + offset (wraps) */
	_Atomic uint64_t frozen_ns;    /* not running */
	_Atomic bool     running;
	_Atomic uint64_t boot_realtime_ns;
};

void clock_open(struct vm_clock *c);                     /* 0, stopped, booted now */
void clock_start(struct vm_clock *c);
void clock_stop(struct vm_clock *c);
uint64_t clock_now_ns(const struct vm_clock *c);         /* any thread; monotonic */
/* What the guest's RTC shows: boot_realtime + now. */
uint64_t clock_realtime_ns(const struct vm_clock *c);
void clock_save(const struct vm_clock *c, struct clock_state *s);
/* CLOCK_ADVANCE: guest time, and with it the RTC, jumps by the real time since the save. */
void clock_load(struct vm_clock *c, const struct clock_state *s, enum clock_policy policy);

#endif
