/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

/* How a test guest ends its machine, at port 0xf4: 0 written is a power-off, anything else a panic
 * that says the number. */

static uint64_t debugexit_read(struct device *d, uint64_t at, unsigned size)
{
	(void)d, (void)at, (void)size;
	return 0;
}

static void debugexit_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	uint32_t number = (uint32_t)value;

	(void)at, (void)size;
	if (!number) {
		device_event(d, VM_EVENT_SHUTDOWN);
		return;
	}
	device_panic(d, "debug exit %u", number);
}

static void debugexit_reset(struct device *d)
{
	(void)d;
}

const struct device_ops debugexit_ops = {
	.type       = "debugexit",
	.compatible = "debugexit",
	.size       = sizeof(struct device),
	.reset      = debugexit_reset,
	.read       = debugexit_read,
	.write      = debugexit_write,
};
