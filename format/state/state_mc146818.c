/* SPDX-License-Identifier: MIT */
#include "format/state/state_mc146818.h"

static const struct field mc146818_fields[] = {
	F_U64(struct mc146818_state, offset_ns, 1, UINT64_MAX),
	F_U64(struct mc146818_state, seen_ns, 1, UINT64_MAX),
	F_X8(struct mc146818_state, index, 1, 0x7f),
	F_X8(struct mc146818_state, reg_a, 1, 0x7f),
	F_X8(struct mc146818_state, reg_b, 1, UINT8_MAX),
	F_X8(struct mc146818_state, reg_c, 1, 0x70),
	F_BYTES(struct mc146818_state, cmos, 1),
	F_END
};

const struct state_table mc146818_state_table = {
	.name = "mc146818", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct mc146818_state), .fields = mc146818_fields,
};
