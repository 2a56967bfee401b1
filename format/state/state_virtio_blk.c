/* SPDX-License-Identifier: MIT */
#include "format/state/state_virtio_blk.h"

#include "format/state/state_virtio.h"

static const struct field blk_fields[] = {
	F_U64(struct virtio_blk_state, capacity, 1, INT64_MAX / 512),
	F_BOOL(struct virtio_blk_state, readonly, 1),
	F_U32_LIST(struct virtio_blk_state, kept_heads, kept, 1, VIRTQUEUE_MAX - 1),
	F_END
};

static int blk_check(const void *state, struct fail *why)
{
	const struct virtio_blk_state *s = state;

	for (unsigned i = 0; i < s->kept; i++)
		for (unsigned k = 0; k < i; k++)
			if (s->kept_heads[i] == s->kept_heads[k])
				return fail_set(why, FAIL_CORRUPT, "duplicate pending requests");
	return 0;
}

const struct state_table virtio_blk_state_table = {
	.name = "virtio-blk", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtio_blk_state), .fields = blk_fields, .check = blk_check,
};
