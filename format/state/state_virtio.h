/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_VIRTIO_H
#define FORMAT_STATE_STATE_VIRTIO_H

#include "format/tree/field.h"

/* What every virtio device keeps, in three sections: the core, each queue, the transport. The
 * device's own is a fourth. */

#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER      0x02u
#define VIRTIO_STATUS_DRIVER_OK   0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED      0x80u

#define VIRTIO_F_INDIRECT_DESC ((uint64_t)1 << 28)
#define VIRTIO_F_EVENT_IDX     ((uint64_t)1 << 29)
#define VIRTIO_F_VERSION_1     ((uint64_t)1 << 32)

#define VIRTQUEUE_MAX 256u      /* entries */

/* Node "virtio". */
struct virtio_state {
	uint64_t device_features;        /* offered since power-on */
	uint64_t driver_features;        /* taken by the driver */
	uint8_t  status;
	uint8_t  isr;                    /* bit 0: used buffers, bit 1: configuration changed */
	uint32_t config_generation;
	uint32_t queue_sel;
};
extern const struct state_table virtio_state_table;

/* Node "virtqueue@N": a split ring. Nothing is in flight: last_avail equals used_idx. */
struct virtqueue_state {
	uint16_t size;                   /* as the driver set it, 0 before */
	bool     ready;
	uint64_t desc, avail, used;      /* gpa of the three areas */
	uint16_t last_avail;             /* the next entry of the available ring to look at */
	uint16_t used_idx;
	uint16_t signalled_used;         /* used_idx at the last interrupt, for EVENT_IDX */
	bool     signalled_valid;
};
extern const struct state_table virtqueue_state_table;

/* Node "virtio-mmio". */
struct virtio_mmio_state {
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t shm_sel;
};
extern const struct state_table virtio_mmio_state_table;

#endif
