/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_CLOCK_H
#define FORMAT_STATE_STATE_CLOCK_H

#include "format/tree/field.h"

/* The guest's clock. Node "clock" under /vm/state. */
struct clock_state {
	uint64_t guest_ns;            /* since power-on, at the moment of saving */
	uint64_t realtime_ns;         /* host's CLOCK_REALTIME then */
	uint64_t boot_realtime_ns;    /* wall clock the guest's RTC shows at guest_ns 0 */
};
extern const struct state_table clock_state_table;

#endif
