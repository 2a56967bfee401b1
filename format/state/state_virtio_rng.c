/* SPDX-License-Identifier: MIT */
#include "format/state/state_virtio_rng.h"

static const struct field rng_fields[] = {
	F_U64(struct virtio_rng_state, bytes_served, 1, UINT64_MAX),
	F_END
};

const struct state_table virtio_rng_state_table = {
	.name = "virtio-rng", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtio_rng_state), .fields = rng_fields,
};
