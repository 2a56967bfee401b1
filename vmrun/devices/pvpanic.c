/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include <jansson.h>

/* How a guest tells that its kernel has panicked: port 0x505, ACPI device QEMU0001.
 * Source: QEMU docs/specs/pvpanic.rst. */

#define PVPANIC_PANICKED     0x01u
#define PVPANIC_CRASH_LOADED 0x02u

struct pvpanic {
	struct device d;
	uint64_t      panics, crash_loads;
};

/* What it understands. */
static uint64_t pvpanic_read(struct device *d, uint64_t at, unsigned size)
{
	(void)d, (void)at, (void)size;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct pvpanic *p = (struct pvpanic *)d;

	(void)at, (void)size;
	if (value & PVPANIC_PANICKED) {
		p->panics++;
		device_panic(d, "guest panic");
	} else if (value & PVPANIC_CRASH_LOADED) {
		p->crash_loads++;
		device_event(d, VM_EVENT_CRASH_LOADED);
	}
}

static void pvpanic_reset(struct device *d)
{
	(void)d;
}

static void pvpanic_counters(struct device *d, struct json_t *into)
{
	const struct pvpanic *p = (struct pvpanic *)d;

	json_object_set_new(into, "panics", json_integer((json_int_t)p->panics));
	json_object_set_new(into, "crash-loads", json_integer((json_int_t)p->crash_loads));
}

const struct device_ops pvpanic_ops = {
	.type       = "pvpanic",
	.compatible = "qemu,pvpanic",
	.size       = sizeof(struct pvpanic),
	.reset      = pvpanic_reset,
	.read       = pvpanic_read,
	.write      = pvpanic_write,
	.counters   = pvpanic_counters,
};
