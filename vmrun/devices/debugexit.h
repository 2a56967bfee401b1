/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DEBUGEXIT_H
#define VMRUN_DEVICES_DEBUGEXIT_H

#include "vmrun/devices/device.h"

/* How a test guest ends its machine, at port 0xf4: 0 written is a power-off, anything else a panic
 * that says the number. */
#define DEBUGEXIT_TYPE "debugexit"
extern const struct device_ops debugexit_ops;

#endif
