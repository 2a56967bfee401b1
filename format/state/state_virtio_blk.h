/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_VIRTIO_BLK_H
#define FORMAT_STATE_STATE_VIRTIO_BLK_H

#include "format/tree/field.h"

#define VIRTIO_BLK_KEPT_MAX 8u

/* A virtio disk. Node "virtio-blk". What the guest has been told of the disk; the disk must still
 * be like that. And requests that the host had no space for, to be done when the VM goes on. The
 * queue's last_avail is counted back by so many: behind a resume these come first, and last_avail
 * counts them again. */
struct virtio_blk_state {
	uint64_t capacity;          /* sectors of 512 bytes */
	bool     readonly;
	uint8_t  kept;              /* requests: elements of kept_heads */
	/* the first descriptor of each */
	uint32_t kept_heads[VIRTIO_BLK_KEPT_MAX];
};
extern const struct state_table virtio_blk_state_table;

#endif
