/* SPDX-License-Identifier: MIT */
#include "format/state/state_clock.h"

static const struct field clock_fields[] = {
	/*    struct              member            since  largest accepted */
	F_U64(struct clock_state, guest_ns,         1,     INT64_MAX),
	F_U64(struct clock_state, realtime_ns,      1,     INT64_MAX),
	F_U64(struct clock_state, boot_realtime_ns, 1,     INT64_MAX),
	F_END
};

const struct state_table clock_state_table = {
	.name = "clock", .version = 1, .needs = 1, .oldest = 1, .size = sizeof(struct clock_state),
	.fields = clock_fields,
};
