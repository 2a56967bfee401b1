/* SPDX-License-Identifier: MIT */
#include "format/state/state_vmgenid.h"

static const struct field vmgenid_fields[] = {
	F_BYTES(struct vmgenid_state, guid, 1),
	F_BOOL(struct vmgenid_state, owed, 1),
	F_END
};

const struct state_table vmgenid_state_table = {
	.name = "vmgenid", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct vmgenid_state), .fields = vmgenid_fields,
};
