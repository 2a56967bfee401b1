/* SPDX-License-Identifier: MIT */
#include "format/state/state_rtc.h"

static const struct field rtc_fields[] = {
	F_U64(struct rtc_state, offset_ns, 1, UINT64_MAX),
	F_U64(struct rtc_state, alarm_ns, 1, UINT64_MAX),
	F_BOOL(struct rtc_state, alarm_armed, 1),
	F_BOOL(struct rtc_state, irq_pending, 1),
	F_BOOL(struct rtc_state, irq_enabled, 1),
	F_X32(struct rtc_state, time_high, 1, UINT32_MAX),
	F_END
};

const struct state_table rtc_state_table = {
	.name = "goldfish-rtc", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct rtc_state), .fields = rtc_fields,
};
