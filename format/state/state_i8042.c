/* SPDX-License-Identifier: MIT */
#include "format/state/state_i8042.h"

static const struct field i8042_fields[] = {
	F_X8(struct i8042_state, mode, 1, UINT8_MAX),
	F_X8(struct i8042_state, command, 1, UINT8_MAX),
	F_X8(struct i8042_state, out, 1, UINT8_MAX),
	F_BOOL(struct i8042_state, full, 1),
	F_END
};

const struct state_table i8042_state_table = {
	.name = "i8042", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct i8042_state), .fields = i8042_fields,
};
