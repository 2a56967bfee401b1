/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_RTC_H
#define FORMAT_STATE_STATE_RTC_H

#include "format/tree/field.h"

/* A goldfish RTC. Node "goldfish-rtc". It shows the VM's real time (section "clock") plus
 * offset_ns, modulo 2^64. */
struct rtc_state {
	uint64_t offset_ns;         /* what the guest's setting of the clock added */
	uint64_t alarm_ns;          /* in the RTC's time */
	bool     alarm_armed;
	bool     irq_pending;
	bool     irq_enabled;
	uint32_t time_high;         /* latched by reading the low word */
};
extern const struct state_table rtc_state_table;

#endif
