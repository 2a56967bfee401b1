/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/mc146818.h"

#include "format/state/state_mc146818.h"
#include "libcommon/io.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/host/loop.h"

#include <jansson.h>
#include <time.h>

/* How this works: nothing ticks. What the guest sees follows from the RTC's time; interrupt reasons
 * are found when somebody looks, or when the host's timer fires, by what lies between seen_ns and
 * now (mc_catch_up). The timer is set only for what is enabled and not yet told, so that a guest
 * can't make the host busier than it is itself. */

enum { SECONDS = 0, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY,
       MONTH, YEAR, REG_A, REG_B, REG_C, REG_D };

#define A_UIP     0x80u
#define A_DIVIDER 0x70u
#define A_RATE    0x0fu

#define B_SET    0x80u
#define B_BINARY 0x04u
#define B_24H    0x02u

#define C_IRQF     0x80u
#define C_PERIODIC 0x40u      /* the same bits enable them in register B */
#define C_ALARM    0x20u
#define C_UPDATE   0x10u
#define C_REASONS  (C_PERIODIC | C_ALARM | C_UPDATE)

#define D_VALID 0x80u

#define HOUR_PM    0x80u
#define ALARM_ANY  0xc0u      /* 0xc0 to 0xff: matches always */

#define SECOND_NS UINT64_C(1000000000)
#define DAY_S     86400u
#define UIP_NS    244000u     /* so long before an update it is announced */
#define HZ        32768u

struct mc146818 {
	struct device         d;
	struct mc146818_state s;
	struct loop_timer    *timer;
	bool                  paused;
	uint64_t              interrupts;
};

static uint64_t mc_now(const struct mc146818 *m)
{
	return device_realtime_ns(&m->d) + m->s.offset_ns;
}

static void mc_update(struct mc146818 *m)
{
	bool level = (m->s.reg_b & m->s.reg_c & C_REASONS) != 0;

	if (level && !m->d.irq.level)
		m->interrupts++;
	irq_line_set(&m->d.irq, level);
}

/* --- numbers as register B wants them --- */

static uint8_t mc_encode(const struct mc146818 *m, uint32_t v)
{
	return (uint8_t)(m->s.reg_b & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint32_t mc_decode(const struct mc146818 *m, uint8_t v)
{
	return m->s.reg_b & B_BINARY ? v : (v >> 4) * 10u + (v & 0x0fu);
}

static uint8_t mc_encode_hour(const struct mc146818 *m, uint32_t hour)
{
	if (m->s.reg_b & B_24H)
		return mc_encode(m, hour);
	return mc_encode(m, hour % 12 ? hour % 12 : 12) | (uint8_t)(hour >= 12 ? HOUR_PM : 0);
}

static uint32_t mc_decode_hour(const struct mc146818 *m, uint8_t v)
{
	if (m->s.reg_b & B_24H)
		return mc_decode(m, v);
	return mc_decode(m, v & 0x7fu) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* The time into its CMOS bytes, unless it is being set: they are the guest's then. */
static void mc_show(struct mc146818 *m, uint64_t now)
{
	time_t    seconds = (time_t)(now / SECOND_NS);     /* until the year 2554: always a date */
	uint8_t  *c       = m->s.cmos;
	struct tm t;
	uint32_t  year;

	if (m->s.reg_b & B_SET)
		return;
	gmtime_r(&seconds, &t);
	year       = (uint32_t)t.tm_year + 1900;
	c[SECONDS] = mc_encode(m, (uint32_t)t.tm_sec);
	c[MINUTES] = mc_encode(m, (uint32_t)t.tm_min);
	c[HOURS]   = mc_encode_hour(m, (uint32_t)t.tm_hour);
	c[WEEKDAY] = mc_encode(m, (uint32_t)t.tm_wday + 1);      /* 1 is Sunday */
	c[DAY]     = mc_encode(m, (uint32_t)t.tm_mday);
	c[MONTH]   = mc_encode(m, (uint32_t)t.tm_mon + 1);
	c[YEAR]    = mc_encode(m, year % 100);
	c[MC146818_CENTURY] = mc_encode(m, year / 100);
}

/* The CMOS bytes have become the time; within the second nothing changes. Invalid dates become
 * valid ones: timegm carries what exceeds a field into the next. */
static void mc_take(struct mc146818 *m, uint64_t now)
{
	const uint8_t *c     = m->s.cmos;
	uint32_t       year  = mc_decode(m, c[MC146818_CENTURY]) * 100 + mc_decode(m, c[YEAR]);
	uint32_t       month = mc_decode(m, c[MONTH]);
	struct tm      t     = {
		.tm_year = (int)(year < 1970 ? 1970 : year) - 1900,
		.tm_mon  = (int)(month < 1 ? 1 : month > 12 ? 12 : month) - 1,
		.tm_mday = (int)mc_decode(m, c[DAY]),
		.tm_hour = (int)mc_decode_hour(m, c[HOURS]),
		.tm_min  = (int)mc_decode(m, c[MINUTES]),
		.tm_sec  = (int)mc_decode(m, c[SECONDS]),
	};

	m->s.offset_ns += (uint64_t)timegm(&t) * SECOND_NS + now % SECOND_NS - now;
	m->s.seen_ns    = mc_now(m);
}

/* --- what comes when --- */

/* The hour, minute or second that an alarm byte names; -1: any. */
static int alarm_field(const struct mc146818 *m, unsigned at)
{
	uint8_t v = m->s.cmos[at];

	if ((v & ALARM_ANY) == ALARM_ANY)
		return -1;
	return (int)(at == HOURS_ALARM ? mc_decode_hour(m, v) : mc_decode(m, v));
}

/* The first second of the day from `from` on that the alarm names; DAY_S when there is none in this
 * day. */
static uint32_t alarm_in_day(const struct mc146818 *m, uint32_t from)
{
	int want_h = alarm_field(m, HOURS_ALARM);
	int want_m = alarm_field(m, MINUTES_ALARM);
	int want_s = alarm_field(m, SECONDS_ALARM);

	if (want_h > 23 || want_m > 59 || want_s > 59)
		return DAY_S;
	for (uint32_t minute = from / 60; minute < DAY_S / 60; minute++) {
		uint32_t first = minute == from / 60 ? from % 60 : 0;

		if ((want_h >= 0 && minute / 60 != (uint32_t)want_h) ||
		    (want_m >= 0 && minute % 60 != (uint32_t)want_m))
			continue;
		if (want_s < 0)
			return minute * 60 + first;
		if ((uint32_t)want_s >= first)
			return minute * 60 + (uint32_t)want_s;
	}
	return DAY_S;
}

/* The time of the first alarm after `after`, all ones for never. */
static uint64_t alarm_next(const struct mc146818 *m, uint64_t after)
{
	uint64_t second = after / SECOND_NS + 1, day = second / DAY_S;
	uint32_t at     = alarm_in_day(m, (uint32_t)(second % DAY_S));

	if (at == DAY_S) {
		day++;
		at = alarm_in_day(m, 0);
	}
	return at == DAY_S ? UINT64_MAX : (day * DAY_S + at) * SECOND_NS;
}

/* Ticks of the oscillator between two periodic interrupts, 0: none. Table 5 of the data sheet. */
static uint64_t mc_period(const struct mc146818 *m)
{
	unsigned rate = m->s.reg_a & A_RATE;

	if (rate == 0)
		return 0;
	return UINT64_C(1) << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static uint64_t ticks_of(uint64_t ns)
{
	return ns / SECOND_NS * HZ + ns % SECOND_NS * HZ / SECOND_NS;
}

static uint64_t periodic_next(const struct mc146818 *m, uint64_t after)
{
	uint64_t period = mc_period(m), tick;

	if (period == 0)
		return UINT64_MAX;
	tick = (ticks_of(after) / period + 1) * period;
	return tick / HZ * SECOND_NS + (tick % HZ * SECOND_NS + HZ - 1) / HZ;
}

static uint64_t reason_next(const struct mc146818 *m, uint8_t reason, uint64_t after)
{
	if (reason == C_PERIODIC)
		return periodic_next(m, after);
	if (m->s.reg_b & B_SET)      /* no updates, so no alarm either */
		return UINT64_MAX;
	return reason == C_ALARM ? alarm_next(m, after) : (after / SECOND_NS + 1) * SECOND_NS;
}

static const uint8_t reasons[] = { C_PERIODIC, C_ALARM, C_UPDATE };

/* All reasons between seen_ns and now into register C. */
static void mc_catch_up(struct mc146818 *m, uint64_t now)
{
	for (size_t i = 0; i < sizeof(reasons); i++)
		if (now > m->s.seen_ns && !(m->s.reg_c & reasons[i]) &&
		    reason_next(m, reasons[i], m->s.seen_ns) <= now)
			m->s.reg_c |= reasons[i];
	m->s.seen_ns = now;
}

/* The interrupt line and the host's timer, after anything changed. No timer while paused: guest
 * time stops then. */
static void mc_rearm(struct mc146818 *m)
{
	uint64_t next = UINT64_MAX, host = io_now_ns(), wait;

	mc_update(m);
	if (m->paused)
		return;
	for (size_t i = 0; i < sizeof(reasons); i++) {
		uint64_t at;

		if (!(m->s.reg_b & reasons[i]) || m->s.reg_c & reasons[i])
			continue;
		at   = reason_next(m, reasons[i], m->s.seen_ns);
		next = at < next ? at : next;
	}
	if (next == UINT64_MAX) {
		loop_timer_set(m->timer, 0);
		return;
	}
	wait = next > m->s.seen_ns ? next - m->s.seen_ns : 0;
	loop_timer_set(m->timer, wait > INT64_MAX - host ? INT64_MAX : host + wait);
}

static void mc_timer(void *arg, uint32_t events)
{
	struct mc146818 *m = arg;

	(void)events;
	device_lock(&m->d);
	if (!m->paused) {
		mc_catch_up(m, mc_now(m));
		mc_rearm(m);
	}
	device_unlock(&m->d);
}

/* --- registers --- */

static bool mc_is_time(uint8_t index)
{
	if (index == SECONDS_ALARM || index == MINUTES_ALARM || index == HOURS_ALARM)
		return false;
	return index <= YEAR || index == MC146818_CENTURY;
}

static uint8_t mc_read_a(const struct mc146818 *m, uint64_t now)
{
	bool updating = !(m->s.reg_b & B_SET) && now % SECOND_NS >= SECOND_NS - UIP_NS;

	return m->s.reg_a | (uint8_t)(updating ? A_UIP : 0);
}

static uint8_t mc_read_c(struct mc146818 *m)
{
	uint8_t c = m->s.reg_c | (uint8_t)(m->s.reg_b & m->s.reg_c & C_REASONS ? C_IRQF : 0);

	m->s.reg_c = 0;
	mc_rearm(m);
	return c;
}

static uint8_t mc_read_data(struct mc146818 *m)
{
	uint64_t now = mc_now(m);

	switch (m->s.index) {
	case REG_A:
		return mc_read_a(m, now);
	case REG_B:
		return m->s.reg_b;
	case REG_C:
		mc_catch_up(m, now);
		return mc_read_c(m);
	case REG_D:
		return D_VALID;
	default:
		mc_show(m, now);
		return m->s.cmos[m->s.index];
	}
}

/* The divider held in reset, as a guest does while it sets the time, starts half a second before
 * the next update. */
static void mc_write_a(struct mc146818 *m, uint8_t v, uint64_t now)
{
	bool was_held = (m->s.reg_a & 0x60u) == 0x60u, held = (v & 0x60u) == 0x60u;

	m->s.reg_a = v & (A_DIVIDER | A_RATE);
	if (was_held && !held)
		m->s.offset_ns += SECOND_NS / 2 - now % SECOND_NS;
	m->s.seen_ns = mc_now(m);
}

static void mc_write_b(struct mc146818 *m, uint8_t v, uint64_t now)
{
	uint8_t was = m->s.reg_b;

	mc_show(m, now);
	if (v & B_SET)
		v &= (uint8_t)~C_UPDATE;      /* as the chip does */
	m->s.reg_b = v;
	if (was & B_SET && !(v & B_SET))
		mc_take(m, now);
}

static void mc_write_data(struct mc146818 *m, uint8_t v)
{
	uint64_t now = mc_now(m);

	mc_catch_up(m, now);
	switch (m->s.index) {
	case REG_A:
		mc_write_a(m, v, now);
		break;
	case REG_B:
		mc_write_b(m, v, now);
		break;
	case REG_C:
	case REG_D:
		return;
	default:
		mc_show(m, now);
		m->s.cmos[m->s.index] = v;
		if (mc_is_time(m->s.index) && !(m->s.reg_b & B_SET))
			mc_take(m, now);
		break;
	}
	mc_rearm(m);
}

/* Port 0x70 can't be read; a wide access is one to each port in turn. */
static uint64_t mc_read(struct device *d, uint64_t at, unsigned size)
{
	struct mc146818 *m = (struct mc146818 *)d;
	uint64_t         v = 0;

	for (unsigned i = 0; i < size && i < 8; i++)
		v |= (uint64_t)(at + i == 1 ? mc_read_data(m) : 0xff) << 8 * i;
	return v;
}

static void mc_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct mc146818 *m = (struct mc146818 *)d;

	for (unsigned i = 0; i < size && i < 8; i++) {
		if (at + i == 0)
			m->s.index = value >> 8 * i & 0x7f;      /* bit 7 masks the NMI */
		else if (at + i == 1)
			mc_write_data(m, (uint8_t)(value >> 8 * i));
	}
}

/* --- life --- */

static int mc_open(struct device *d, struct fail *why)
{
	struct mc146818 *m = (struct mc146818 *)d;

	m->paused = true;      /* until the first resume */
	m->timer  = loop_timer_add(d->host->loop, mc_timer, m, why);
	return m->timer ? 0 : fail_prefix(why, "%s: ", d->node);
}

static void mc_reset(struct device *d)
{
	struct mc146818 *m = (struct mc146818 *)d;

	/* 32768 Hz, 1024 interrupts a second if enabled. */
	m->s = (struct mc146818_state){ .reg_a = 0x26, .reg_b = B_24H };
	m->s.seen_ns = mc_now(m);
	mc_update(m);
}

static size_t mc_sections(struct device *d, struct state_section *out, size_t max)
{
	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "mc146818", .table = &mc146818_state_table,
					 .s = &((struct mc146818 *)d)->s };
	return 1;
}

static int mc_post_load(struct device *d, struct fail *why)
{
	(void)why;
	mc_update((struct mc146818 *)d);
	return 0;
}

static int mc_pause(struct device *d, struct fail *why)
{
	struct mc146818 *m = (struct mc146818 *)d;

	(void)why;
	m->paused = true;
	loop_timer_set(m->timer, 0);
	return 0;
}

static int mc_resume(struct device *d, struct fail *why)
{
	struct mc146818 *m = (struct mc146818 *)d;

	(void)why;
	m->paused = false;
	mc_catch_up(m, mc_now(m));
	mc_rearm(m);
	return 0;
}

static void mc_counters(struct device *d, struct json_t *into)
{
	json_object_set_new(into, "interrupts",
			    json_integer((json_int_t)((struct mc146818 *)d)->interrupts));
}

static void mc_close(struct device *d)
{
	loop_timer_remove(d->host->loop, ((struct mc146818 *)d)->timer);
}

const struct device_ops mc146818_ops = {
	.type       = "mc146818",
	.compatible = "motorola,mc146818",
	.size       = sizeof(struct mc146818),
	.open       = mc_open,
	.reset      = mc_reset,
	.read       = mc_read,
	.write      = mc_write,
	.sections   = mc_sections,
	.post_load  = mc_post_load,
	.pause      = mc_pause,
	.resume     = mc_resume,
	.counters   = mc_counters,
	.close      = mc_close,
};
