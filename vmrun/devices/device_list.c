/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include <string.h>

#define DEVICE_ROW(name) &name##_ops,

const struct device_ops *const device_types[] = { DEVICE_LIST(DEVICE_ROW) NULL };

const struct device_ops *device_type_find(const char *type)
{
	for (size_t i = 0; device_types[i]; i++)
		if (!strcmp(device_types[i]->type, type))
			return device_types[i];
	return NULL;
}
