/* SPDX-License-Identifier: MIT */
#include "format/state/state_virtio_console.h"

static const struct field console_fields[] = {
	F_U64(struct virtio_console_state, bytes_in, 1, UINT64_MAX),
	F_U64(struct virtio_console_state, bytes_out, 1, UINT64_MAX),
	F_END
};

const struct state_table virtio_console_state_table = {
	.name = "virtio-console", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtio_console_state), .fields = console_fields,
};
