#ifndef VMRUN_DEVICES_VIRTIO_BLK_H
#define VMRUN_DEVICES_VIRTIO_BLK_H

#include "vmrun/devices/device.h"

/* A disk. Requests run on threads of its own, outside of machine_lock, several at once. A pause waits for those that
 * have begun, puts the others back into the ring, and flushes the host's file. */
extern const struct device_ops virtio_blk_ops;

#endif
