#ifndef FORMAT_STATE_VIRTIO_BLK_H
#define FORMAT_STATE_VIRTIO_BLK_H

#include "format/field.h"

/* A virtio disk. Node "virtio-blk". What the guest has been told of the disk; the disk must still be like that. */
struct virtio_blk_state {
	uint64_t capacity;          /* sectors of 512 bytes */
	bool     readonly;
};
extern const struct state_table virtio_blk_state_table;

#endif
