/* SPDX-License-Identifier: MIT */
#include "format/state/state_virtio.h"

static const struct field virtio_fields[] = {
	F_X64(struct virtio_state, device_features, 1, UINT64_MAX),
	F_X64(struct virtio_state, driver_features, 1, UINT64_MAX),
	F_X8(struct virtio_state, status, 1, 0xcf),
	F_X8(struct virtio_state, isr, 1, 3),
	F_U32(struct virtio_state, config_generation, 1, UINT32_MAX),
	F_U32(struct virtio_state, queue_sel, 1, UINT32_MAX),
	F_END
};

static int virtio_check(const void *state, struct fail *why)
{
	const struct virtio_state *s = state;
	bool                       features_ok = s->status & VIRTIO_STATUS_FEATURES_OK;

	if (s->status & VIRTIO_STATUS_DRIVER_OK && !features_ok)
		return fail_set(why, FAIL_CORRUPT, "DRIVER_OK without FEATURES_OK");
	if (features_ok && (s->driver_features & ~s->device_features ||
			    !(s->driver_features & VIRTIO_F_VERSION_1)))
		return fail_set(why, FAIL_CORRUPT,
				"driver accepted features that were not offered");
	return 0;
}

const struct state_table virtio_state_table = {
	.name = "virtio", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtio_state), .fields = virtio_fields, .check = virtio_check,
};

static const struct field virtqueue_fields[] = {
	F_U16(struct virtqueue_state, size, 1, VIRTQUEUE_MAX),
	F_BOOL(struct virtqueue_state, ready, 1),
	F_X64(struct virtqueue_state, desc, 1, UINT64_MAX),
	F_X64(struct virtqueue_state, avail, 1, UINT64_MAX),
	F_X64(struct virtqueue_state, used, 1, UINT64_MAX),
	F_U16(struct virtqueue_state, last_avail, 1, UINT16_MAX),
	F_U16(struct virtqueue_state, used_idx, 1, UINT16_MAX),
	F_U16(struct virtqueue_state, signalled_used, 1, UINT16_MAX),
	F_BOOL(struct virtqueue_state, signalled_valid, 1),
	F_END
};

/* Whether the areas lie in RAM is checked by the device after the load: it alone knows the RAM. */
static int virtqueue_check(const void *state, struct fail *why)
{
	const struct virtqueue_state *s = state;

	if (s->size & (s->size - 1))
		return fail_set(why, FAIL_CORRUPT, "queue size %u is not a power of two", s->size);
	if (s->ready && (!s->size || s->desc & 15 || s->avail & 1 || s->used & 3))
		return fail_set(why, FAIL_CORRUPT, "ready queue with size 0 or misaligned address");
	if (s->last_avail != s->used_idx)
		return fail_set(why, FAIL_CORRUPT, "requests in flight in saved queue");
	return 0;
}

const struct state_table virtqueue_state_table = {
	.name = "virtqueue", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtqueue_state), .fields = virtqueue_fields,
	.check = virtqueue_check,
};

static const struct field mmio_fields[] = {
	F_U32(struct virtio_mmio_state, device_features_sel, 1, UINT32_MAX),
	F_U32(struct virtio_mmio_state, driver_features_sel, 1, UINT32_MAX),
	F_U32(struct virtio_mmio_state, shm_sel, 1, UINT32_MAX),
	F_END
};

const struct state_table virtio_mmio_state_table = {
	.name = "virtio-mmio", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct virtio_mmio_state), .fields = mmio_fields,
};
