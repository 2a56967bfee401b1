/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DEVICE_LIST_H
#define VMRUN_DEVICES_DEVICE_LIST_H

#include "vmrun/devices/device.h"

/* Every type of device, a row each: row(NAME) is NAME_ops, which NAME.c defines. A device has a
 * header only if it offers more than that. Address and interrupt follow from the slot, are recorded
 * in the tree, and come from the tree at a restore: a new row here moves nothing. */
#define DEVICE_LIST(row)    \
	row(plic)           \
	row(uart)           \
	row(rtc)            \
	row(mc146818)       \
	row(i8042)          \
	row(acpi_pm)        \
	row(cf9)            \
	row(pvpanic)        \
	row(debugexit)      \
	row(vmgenid)        \
	row(virtio_blk)     \
	row(virtio_console) \
	row(virtio_rng)

#define DEVICE_DECLARE(name) extern const struct device_ops name##_ops;
DEVICE_LIST(DEVICE_DECLARE)
#undef DEVICE_DECLARE

/* All of them, NULL at the end. */
extern const struct device_ops *const device_types[];
/* NULL: no such type in this build. */
const struct device_ops *device_type_find(const char *type);

#endif
