/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_PVPANIC_H
#define VMRUN_DEVICES_PVPANIC_H

#include "vmrun/devices/device.h"

/* How a guest tells that its kernel has panicked: port 0x505, ACPI device QEMU0001.
 * Source: QEMU docs/specs/pvpanic.rst. */
#define PVPANIC_TYPE "pvpanic"
extern const struct device_ops pvpanic_ops;

#endif
