/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_BLK_H
#define VMRUN_DEVICES_VIRTIO_BLK_H

#include "vmrun/devices/device.h"

/* A disk. Requests run on threads of its own, outside of machine_lock, several at once. A pause waits for those that
 * have begun and puts the others back into the ring. */
extern const struct device_ops virtio_blk_ops;

/* For blk_all.c. With machine_lock: requests that have not begun wait (until hold is false, or a
 * resume), so that soon nothing is in flight; then virtio_blk_sync's done_fd is readable. */
void virtio_blk_hold(struct device *d, bool hold);
bool virtio_blk_in_flight(struct device *d);
struct disk_sync *virtio_blk_sync(struct device *d);
uint64_t virtio_blk_bytes(const struct device *d);     /* the disk's size as the guest knows it */
/* The host has no space for what the guest writes: no request begins before a resume, which tries again those that have
 * failed. told, unless NULL: whether this was asked for since. */
bool virtio_blk_stalled(struct device *d, bool *told);

#endif
