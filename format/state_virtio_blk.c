#include "format/state_virtio_blk.h"

static const struct field blk_fields[] = {
	F_U64(struct virtio_blk_state, capacity, 1, INT64_MAX / 512),
	F_BOOL(struct virtio_blk_state, readonly, 1),
	F_END
};

const struct state_table virtio_blk_state_table = {
	.name = "virtio-blk", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtio_blk_state), .fields = blk_fields,
};
