/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/cf9.h"

#include "vmrun/devices/device_list.h"
#define RST_CPU 0x04u

static uint64_t cf9_read(struct device *d, uint64_t at, unsigned size)
{
	(void)d, (void)at, (void)size;
	return 0;
}

static void cf9_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	(void)at, (void)size;
	if (value & RST_CPU)
		device_event(d, VM_EVENT_RESET);
}

static void cf9_reset(struct device *d)
{
	(void)d;
}

const struct device_ops cf9_ops = {
	.type       = "reset",
	.compatible = "reset",
	.size       = sizeof(struct device),
	.reset      = cf9_reset,
	.read       = cf9_read,
	.write      = cf9_write,
};
