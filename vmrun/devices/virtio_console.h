/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_CONSOLE_H
#define VMRUN_DEVICES_VIRTIO_CONSOLE_H

#include "vmrun/devices/device.h"

/* A console of one port (Linux: hvc0) on a serial resource of its own. */
#define VIRTIO_CONSOLE_TYPE "virtio-console"
extern const struct device_ops virtio_console_ops;

#endif
