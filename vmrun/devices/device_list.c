/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device.h"

#include "vmrun/devices/acpi_pm.h"
#include "vmrun/devices/cf9.h"
#include "vmrun/devices/debugexit.h"
#include "vmrun/devices/i8042.h"
#include "vmrun/devices/mc146818.h"
#include "vmrun/devices/plic.h"
#include "vmrun/devices/pvpanic.h"
#include "vmrun/devices/rtc.h"
#include "vmrun/devices/uart.h"
#include "vmrun/devices/virtio_blk.h"
#include "vmrun/devices/virtio_console.h"
#include "vmrun/devices/virtio_rng.h"
#include "vmrun/devices/vmgenid.h"

#include <string.h>

/* The whole list. Address and interrupt follow from the slot, are recorded in the tree, and come
 * from the tree at a restore: a new row here moves nothing. */
const struct device_ops *const device_types[] = {
	&plic_ops,
	&uart_ops,
	&rtc_ops,
	&mc146818_ops,
	&i8042_ops,
	&acpi_pm_ops,
	&cf9_ops,
	&pvpanic_ops,
	&debugexit_ops,
	&vmgenid_ops,
	&virtio_blk_ops,
	&virtio_console_ops,
	&virtio_rng_ops,
	NULL
};

const struct device_ops *device_type_find(const char *type)
{
	for (size_t i = 0; device_types[i]; i++)
		if (!strcmp(device_types[i]->type, type))
			return device_types[i];
	return NULL;
}
