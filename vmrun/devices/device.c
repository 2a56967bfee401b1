/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device.h"

#include "vmrun/clock.h"

#include <stdarg.h>
#include <stdio.h>

void device_lock(struct device *d)
{
	pthread_mutex_lock(d->host->lock);
}

void device_unlock(struct device *d)
{
	pthread_mutex_unlock(d->host->lock);
}

const struct machine_host *device_resource(const struct device *d)
{
	return machine_host_find(d->host->cfg, d->cfg.host);
}

void device_event(struct device *d, enum vm_event e)
{
	d->host->event(d->host->arg, e);
}

void device_panic(struct device *d, const char *fmt, ...)
{
	char    text[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->host->panic(d->host->arg, text);
}

uint64_t device_clock_ns(const struct device *d)
{
	return clock_now_ns(d->host->clock);
}

uint64_t device_realtime_ns(const struct device *d)
{
	return clock_realtime_ns(d->host->clock);
}
