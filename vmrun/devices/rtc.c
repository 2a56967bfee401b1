/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include "format/state/state_rtc.h"
#include "libcommon/io.h"
#include "vmrun/host/loop.h"

#include <jansson.h>

/* Goldfish RTC: the VM's real time in nanoseconds since 1970, settable, with an alarm. */

#define RTC_TIME_LOW        0x00u
#define RTC_TIME_HIGH       0x04u
#define RTC_ALARM_LOW       0x08u
#define RTC_ALARM_HIGH      0x0cu
#define RTC_IRQ_ENABLED     0x10u
#define RTC_CLEAR_ALARM     0x14u
#define RTC_ALARM_STATUS    0x18u
#define RTC_CLEAR_INTERRUPT 0x1cu

struct rtc {
	struct device      d;
	struct rtc_state   s;
	struct loop_timer *timer;
	bool               paused;
	uint64_t           alarms;
};

static uint64_t rtc_now(const struct rtc *r)
{
	return device_realtime_ns(&r->d) + r->s.offset_ns;
}

static void rtc_update(struct rtc *r)
{
	irq_line_set(&r->d.irq, r->s.irq_pending && r->s.irq_enabled);
}

/* Fires a due alarm, or sets the host's timer for it. Not while paused: guest time stops then. */
static void rtc_alarm(struct rtc *r)
{
	uint64_t now = rtc_now(r), host = io_now_ns(), wait;

	if (r->paused)
		return;
	loop_timer_set(r->timer, 0);
	if (!r->s.alarm_armed)
		return;
	if (r->s.alarm_ns <= now) {
		r->s.alarm_armed = false;
		r->s.irq_pending = true;
		r->alarms++;
		rtc_update(r);
		return;
	}
	wait = r->s.alarm_ns - now;
	loop_timer_set(r->timer, wait > INT64_MAX - host ? INT64_MAX : host + wait);
}

static void rtc_timer(void *arg, uint32_t events)
{
	struct rtc *r = arg;

	(void)events;
	device_lock(&r->d);
	rtc_alarm(r);
	device_unlock(&r->d);
}

static uint64_t rtc_read(struct device *d, uint64_t at, unsigned size)
{
	struct rtc *r = (struct rtc *)d;
	uint64_t    now;

	if (size != 4)
		return 0;
	switch (at) {
	case RTC_TIME_LOW:
		now = rtc_now(r);
		r->s.time_high = (uint32_t)(now >> 32);
		return (uint32_t)now;
	case RTC_TIME_HIGH:
		return r->s.time_high;
	case RTC_ALARM_LOW:
		return (uint32_t)r->s.alarm_ns;
	case RTC_ALARM_HIGH:
		return r->s.alarm_ns >> 32;
	case RTC_IRQ_ENABLED:
		return r->s.irq_enabled;
	case RTC_ALARM_STATUS:
		return r->s.alarm_armed;
	default:
		return 0;
	}
}

static void rtc_set(struct rtc *r, uint64_t wanted, uint64_t now)
{
	r->s.offset_ns += wanted - now;
	rtc_alarm(r);
}

static void rtc_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct rtc *r   = (struct rtc *)d;
	uint64_t    low = (uint32_t)value, now = rtc_now(r);

	if (size != 4)
		return;
	switch (at) {
	case RTC_TIME_LOW:
		rtc_set(r, (now & ~(uint64_t)UINT32_MAX) | low, now);
		break;
	case RTC_TIME_HIGH:
		rtc_set(r, low << 32 | (uint32_t)now, now);
		break;
	case RTC_ALARM_LOW:      /* written last: it arms */
		r->s.alarm_ns    = (r->s.alarm_ns & ~(uint64_t)UINT32_MAX) | low;
		r->s.alarm_armed = true;
		rtc_alarm(r);
		break;
	case RTC_ALARM_HIGH:
		r->s.alarm_ns = low << 32 | (uint32_t)r->s.alarm_ns;
		break;
	case RTC_IRQ_ENABLED:
		r->s.irq_enabled = low & 1;
		rtc_update(r);
		break;
	case RTC_CLEAR_ALARM:
		r->s.alarm_armed = false;
		rtc_alarm(r);
		break;
	case RTC_CLEAR_INTERRUPT:
		r->s.irq_pending = false;
		rtc_update(r);
		break;
	default:
		break;
	}
}

static int rtc_open(struct device *d, struct fail *why)
{
	struct rtc *r = (struct rtc *)d;

	r->paused = true;      /* until the first resume */
	r->timer  = loop_timer_add(d->host->loop, rtc_timer, r, why);
	return r->timer ? 0 : fail_prefix(why, "%s: ", d->node);
}

static void rtc_reset(struct device *d)
{
	struct rtc *r = (struct rtc *)d;

	r->s = (struct rtc_state){ 0 };
	rtc_update(r);
}

static size_t rtc_sections(struct device *d, struct state_section *out, size_t max)
{
	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "goldfish-rtc", .table = &rtc_state_table,
					 .s = &((struct rtc *)d)->s };
	return 1;
}

static int rtc_post_load(struct device *d, struct fail *why)
{
	(void)why;
	rtc_update((struct rtc *)d);
	return 0;
}

static int rtc_pause(struct device *d, struct fail *why)
{
	struct rtc *r = (struct rtc *)d;

	(void)why;
	r->paused = true;
	loop_timer_set(r->timer, 0);
	return 0;
}

static int rtc_resume(struct device *d, struct fail *why)
{
	struct rtc *r = (struct rtc *)d;

	(void)why;
	r->paused = false;
	rtc_alarm(r);
	return 0;
}

static void rtc_counters(struct device *d, struct json_t *into)
{
	json_object_set_new(into, "alarms", json_integer((json_int_t)((struct rtc *)d)->alarms));
}

static void rtc_close(struct device *d)
{
	loop_timer_remove(d->host->loop, ((struct rtc *)d)->timer);
}

const struct device_ops rtc_ops = {
	.type       = "goldfish-rtc",
	.compatible = "google,goldfish-rtc",
	.node       = "rtc",
	.size       = sizeof(struct rtc),
	.open       = rtc_open,
	.reset      = rtc_reset,
	.read       = rtc_read,
	.write      = rtc_write,
	.sections   = rtc_sections,
	.post_load  = rtc_post_load,
	.pause      = rtc_pause,
	.resume     = rtc_resume,
	.counters   = rtc_counters,
	.close      = rtc_close,
};
