/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_I8042_H
#define VMRUN_DEVICES_I8042_H

#include "vmrun/devices/device.h"

/* A PC's keyboard controller at ports 0x60 to 0x64 with no keyboard and no mouse: what guests use
 * to reset the machine, and enough answers for those who look for it not to wait. */
#define I8042_TYPE "i8042"
extern const struct device_ops i8042_ops;

#endif
