/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_MC146818_H
#define FORMAT_STATE_STATE_MC146818_H

#include "format/tree/field.h"

/* An MC146818 clock with CMOS. Node "mc146818". It shows the VM's real time (section "clock") plus
 * offset_ns, modulo 2^64; what has come due is found by comparing the time with seen_ns. */
struct mc146818_state {
	uint64_t offset_ns;         /* what the guest's setting of the clock added */
	/* in the RTC's time: up to here interrupt reasons are in reg_c */
	uint64_t seen_ns;
	uint8_t  index;             /* of the CMOS byte that port 0x71 is */
	uint8_t  reg_a;             /* without UIP, which follows from the time */
	uint8_t  reg_b;
	uint8_t  reg_c;             /* without IRQF, which follows */
	/* 1, 3, 5: the alarm; 0, 2, 4, 6 to 9, 0x32: the time while it is being set (SET in reg_b),
	 * else as it was last looked at; 0x0a to 0x0d: not used */
	uint8_t  cmos[128];
};
extern const struct state_table mc146818_state_table;

#endif
