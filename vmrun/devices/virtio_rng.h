/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_RNG_H
#define VMRUN_DEVICES_VIRTIO_RNG_H

#include "vmrun/devices/device.h"

/* Entropy from the host's getrandom. */
#define VIRTIO_RNG_TYPE "virtio-rng"
extern const struct device_ops virtio_rng_ops;

#endif
