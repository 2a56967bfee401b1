/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_BLK_H
#define VMRUN_DEVICES_VIRTIO_BLK_H

#include "vmrun/devices/device.h"

struct disk_sync;

/* A disk. Requests run on threads of its own, outside of machine_lock, several at once. A pause
 * waits for those that have begun and puts the others back into the ring. */

/* virtio_blk_disk.c: what saves and moves need, over the functions below. */
extern const struct disk_ops virtio_blk_disk_ops;

/* See struct disk_ops: hold, in_flight, stalled. With the machine lock. */
void virtio_blk_hold(struct device *d, bool hold);
bool virtio_blk_in_flight(struct device *d);
bool virtio_blk_stalled(struct device *d, bool *told);

struct disk_sync *virtio_blk_sync(struct device *d);
uint64_t virtio_blk_bytes(const struct device *d);     /* the disk's size as the guest knows it */

#endif
