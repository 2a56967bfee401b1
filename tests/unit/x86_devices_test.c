/* SPDX-License-Identifier: MIT */
/* The small devices of a PC: what Linux' drivers do with them, what a hostile guest does, and a
 * save and a load between. */
#include "tests/unit/board_fake.h"

#include "format/state/state_acpi_pm.h"
#include "format/state/state_mc146818.h"
#include "format/state/state_vmgenid.h"
#include "vmrun/board/plan.h"
#include "vmrun/devices/acpi_pm.h"
#include "vmrun/devices/cf9.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/devices/mc146818.h"
#include "vmrun/devices/vmgenid.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PORT(p) (MACHINE_IO + (p))
#define RTC_IRQ 8u
#define SCI     9u
#define PM      0x600u
#define GENID   0xfed40000u

static struct fake f;

/* --- a board that is nothing but windows and lines --- */

static int test_plan(struct machine *cfg, struct fail *why)
{
	(void)cfg, (void)why;
	return 0;
}

static int test_check(const struct machine *cfg, struct fail *why)
{
	(void)cfg, (void)why;
	return 0;
}

static void test_irq(struct board *b, uint32_t irq, bool level)
{
	b->host->accel->ops->gsi(b->host->accel, irq, level);
}

static void test_copied(struct board *b)
{
	acpi_pm_gpe(board_device(b, &acpi_pm_ops), ACPI_GPE_VMGENID);
}

static const struct plan_device   test_fixed[]    = { { .ops = NULL } };
static const struct board_machine test_machines[] = {
	{ MACHINE_X86_64_1, test_fixed }, { .fixed = NULL }
};
static const struct board_ops board_test = {
	.machines = test_machines, .plan = test_plan, .check = test_check, .irq = test_irq,
	.copied = test_copied,
};
const struct board_ops *const board_list[] = { &board_test, NULL };

static void add(struct machine *cfg, const char *type, uint64_t gpa, uint64_t size, uint32_t irq)
{
	fake_device(cfg, type, "");
	cfg->devices[cfg->ndevices - 1].gpa  = gpa;
	cfg->devices[cfg->ndevices - 1].size = size;
	cfg->devices[cfg->ndevices - 1].irq  = irq;
}

static void plan(struct machine *cfg)
{
	fake_machine(cfg);
	cfg->type = MACHINE_X86_64_1;
	add(cfg, "mc146818", PORT(0x70), 2, RTC_IRQ);
	add(cfg, "i8042", PORT(0x60), 5, 0);
	add(cfg, "acpi-pm", PORT(PM), ACPI_PM_SIZE, SCI);
	add(cfg, "reset", PORT(0xcf9), 1, 0);
	add(cfg, "pvpanic", PORT(0x505), 1, 0);
	add(cfg, "debugexit", PORT(0xf4), 4, 0);
	add(cfg, "vmgenid", GENID, 0x1000, 0);
}

static void start(void)
{
	struct machine cfg;

	plan(&cfg);
	fake_open(&f, &cfg);
	fake_start(&f);
}

static uint64_t in(uint64_t port, unsigned size) { return rd(&f, PORT(port), size); }
static void out(uint64_t port, unsigned size, uint64_t v) { wr(&f, PORT(port), size, v); }

static bool asked(enum vm_event e)
{
	bool was = f.asked & 1u << e;

	f.asked = 0;
	return was;
}

/* --- the clock --- */

static uint8_t cmos(uint8_t index)
{
	out(0x70, 1, index);
	return (uint8_t)in(0x71, 1);
}

static void cmos_put(uint8_t index, uint8_t v)
{
	out(0x70, 1, index);
	out(0x71, 1, v);
}

static unsigned bcd(uint8_t v) { return (v >> 4) * 10u + (v & 15u); }

/* As Linux' mc146818_get_time does: not while an update is near. */
static time_t cmos_time(struct tm *tm)
{
	while (cmos(0x0a) & 0x80)
		;
	*tm = (struct tm){ .tm_sec = (int)bcd(cmos(0)), .tm_min = (int)bcd(cmos(2)),
			   .tm_hour = (int)bcd(cmos(4)),
			   .tm_mday = (int)bcd(cmos(7)), .tm_mon = (int)bcd(cmos(8)) - 1,
			   .tm_year = (int)(bcd(cmos(0x32)) * 100 + bcd(cmos(9))) - 1900 };
	return timegm(tm);
}

/* As Linux' mc146818_set_time does. */
static void cmos_set(unsigned century, unsigned year, uint8_t month, uint8_t day, uint8_t hour,
		     uint8_t minute, uint8_t second)
{
	const uint8_t b = cmos(0x0b), a = cmos(0x0a) & 0x7f;

	cmos_put(0x0b, b | 0x80);
	cmos_put(0x0a, a | 0x70);
	cmos_put(9, (uint8_t)year);
	cmos_put(8, month);
	cmos_put(7, day);
	cmos_put(4, hour);
	cmos_put(2, minute);
	cmos_put(0, second);
	cmos_put(MC146818_CENTURY, (uint8_t)century);
	cmos_put(0x0b, b);
	cmos_put(0x0a, a);
}

static void shows_time(void)
{
	struct tm tm, utc;
	time_t    now = time(NULL), seen = cmos_time(&tm);

	gmtime_r(&seen, &utc);
	ok(seen >= now - 1 && seen <= time(NULL) + 1,
	   "the clock shows the host's time in BCD, century and all");
	ok((int)bcd(cmos(6)) == utc.tm_wday + 1, "and the day of the week");
	ok(cmos(0x0d) == 0x80 && cmos(0x0b) == 0x02 && (cmos(0x0a) & 0x7f) == 0x26,
	   "power is good, 24 hours, BCD, 32768 Hz");
	cmos_put(0x0b, 0x06);
	ok(cmos(8) == utc.tm_mon + 1 && cmos(MC146818_CENTURY) == 20, "binary when asked for");
	cmos_put(0x0b, 0x02);
	cmos_put(0x0f, 0x0a);
	cmos_put(0x7f, 0x5a);
	ok(cmos(0x0f) == 0x0a && cmos(0x8f) == 0x0a && cmos(0x7f) == 0x5a,
	   "the other bytes are memory; bit 7 of the index is the NMI's");
	ok(in(0x70, 1) == 0xff, "the index can't be read back");
}

static void is_set(void)
{
	struct tm tm;
	char      text[64];

	cmos_set(0x20, 0x28, 0x02, 0x28, 0x23, 0x59, 0x59);
	cmos_time(&tm);
	strftime(text, sizeof(text), "%F %T", &tm);
	ok(!strcmp(text, "2028-02-28 23:59:59"), "a time that was set is shown");
	fake_run(&f, 600);
	cmos_time(&tm);
	strftime(text, sizeof(text), "%F %T", &tm);
	ok(!strcmp(text, "2028-02-29 00:00:00"),
	   "half a second after the divider's release the next begins, in a leap day");
	cmos_put(0x0b, 0x82);
	cmos_put(0, 0x33);
	ok(cmos(0) == 0x33 && !(cmos(0x0a) & 0x80), "while it is set, nothing moves");
	cmos_put(0x0b, 0x80);
	cmos_put(4, 0x81);
	cmos_put(0x0b, 0x00);
	ok(cmos(4) == 0x81, "12 hours: 1 in the afternoon");
	cmos_put(0x0b, 0x02);
	ok(cmos(4) == 0x13, "which is 13 of 24");
	cmos_set(0x19, 0x70, 0x01, 0x01, 0x00, 0x00, 0x10);
	ok(cmos_time(&tm) == 10, "the epoch's first seconds can be set");
	cmos_set(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
	cmos_time(&tm);
	cmos_set(0, 0, 0, 0, 0, 0, 0);
	cmos_time(&tm);
	cmos_set(0x21, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00);
	cmos_time(&tm);
	ok(tm.tm_year == 200 && tm.tm_mon == 2 && tm.tm_mday == 1,
	   "after nonsense a real date is a date; 2100 has no leap day");
}

static void interrupts(void)
{
	unsigned    n = 0;
	struct fail why;

	cmos(0x0c);
	cmos_put(0x0b, 0x42);      /* periodic, 1024 a second */
	for (unsigned i = 0; i < 32; i++) {
		n += fake_wait_irq(&f, 1000) && f.line[RTC_IRQ] && (cmos(0x0c) & 0xc0) == 0xc0;
	}
	ok(n == 32 && !f.line[RTC_IRQ],
	   "periodic interrupts come, one a reading of register C, which clears the line");
	cmos_put(0x0b, 0x02);
	fake_run(&f, 20);
	ok(!f.line[RTC_IRQ] && cmos(0x0c) & 0x40 && !(cmos(0x0c) & 0x80),
	   "not enabled: the reason is there, the interrupt is not");

	cmos(0x0c);
	cmos_put(0x0b, 0x12);
	ok(fake_wait_irq(&f, 1500) && (cmos(0x0c) & 0x90) == 0x90,
	   "an update has ended within a second");
	cmos_put(0x0b, 0x02);

	cmos_set(0x20, 0x26, 0x06, 0x01, 0x12, 0x00, 0x00);
	cmos(0x0c);
	cmos_put(1, 0x01);
	cmos_put(3, 0x00);
	cmos_put(5, 0x12);
	cmos_put(0x0b, 0x22);
	ok(fake_wait_irq(&f, 2500) && (cmos(0x0c) & 0xa0) == 0xa0 && cmos(0) == 0x01,
	   "the alarm comes in its second");
	ok(!fake_wait_irq(&f, 1200), "and not in the next");
	cmos_put(1, 0xff);
	cmos_put(3, 0xff);
	cmos_put(5, 0xff);
	ok(fake_wait_irq(&f, 1500) && cmos(0x0c) & 0x20,
	   "an alarm that matches always comes each second");
	cmos_put(5, 0x99);
	cmos(0x0c);
	ok(!fake_wait_irq(&f, 1200), "one at an hour that does not exist never does");

	/* The machine is paused for a second and saved: what came due in it did not fire. */
	cmos_put(5, 0xff);
	cmos(0x0c);
	board_pause(f.vm.board, &why);
	clock_stop(&f.vm.clock);
	ok(!fake_wait_irq(&f, 1200), "no alarm while the VM is paused");
	clock_start(&f.vm.clock);
	board_resume(f.vm.board, &why);
	ok(fake_wait_irq(&f, 1500), "it comes when the VM goes on");
}

static void clock_is_saved(void)
{
	struct fake_sections saved, again;
	struct fail       why;
	struct tm         a, b;
	time_t            before, after;

	cmos_set(0x20, 0x30, 0x05, 0x06, 0x07, 0x08, 0x09);
	cmos_put(0x55, 0xaa);
	cmos_put(5, 0xff);
	cmos_put(3, 0xff);
	cmos_put(1, 0xff);
	cmos_put(0x0b, 0x22);
	fake_wait_irq(&f, 1500);
	before = cmos_time(&a);
	fake_save(&f, "mc146818", &saved);
	board_reset(f.vm.board);
	ok(!f.line[RTC_IRQ] && cmos(0x55) == 0, "a reset takes line and memory");
	ok(fake_load(&f, "mc146818", &saved, &why) == 0 && f.line[RTC_IRQ],
	   "a load raises the line anew");
	fake_save(&f, "mc146818", &again);
	ok(!memcmp(saved.data[0], again.data[0], sizeof(struct mc146818_state)),
	   "and brings back every byte");
	after = cmos_time(&b);
	ok(after - before <= 1 && cmos(0x55) == 0xaa && cmos(0x0c) == 0xf0,
	   "the time goes on as it was set");
}

/* --- the keyboard controller --- */

static void keyboard(void)
{
	struct fake_sections saved;
	struct fail       why;

	ok(!(in(0x64, 1) & 0x03), "i8042: no data, and room for a command");
	out(0x64, 1, 0xaa);
	ok(in(0x64, 1) & 0x01 && in(0x60, 1) == 0x55 && !(in(0x64, 1) & 0x01),
	   "the self test is passed, once");
	out(0x64, 1, 0x60);
	out(0x60, 1, 0x47);
	out(0x64, 1, 0x20);
	fake_save(&f, "i8042", &saved);
	board_reset(f.vm.board);
	ok(!(in(0x64, 1) & 0x01), "a reset drops what was to be read");
	ok(fake_load(&f, "i8042", &saved, &why) == 0 && in(0x64, 1) & 0x01 && in(0x60, 1) == 0x47,
	   "the command byte, across a load");
	out(0x64, 1, 0xd3);
	out(0x60, 1, 0x5a);
	ok(!(in(0x64, 1) & 0x20) && in(0x60, 1) == 0x5a,
	   "a byte looped back does not come from a mouse");
	out(0x60, 1, 0xff);
	ok(!(in(0x64, 1) & 0x01) && !asked(VM_EVENT_RESET),
	   "no keyboard answers, nothing is reset");
	out(0x64, 1, 0xfe);
	ok(asked(VM_EVENT_RESET), "0xfe pulses the reset line");
	out(0x64, 1, 0xd1);
	out(0x60, 1, 0xfe);
	ok(asked(VM_EVENT_RESET), "as does the output port");
	out(0x64, 1, 0xff);
	ok(!asked(VM_EVENT_RESET), "0xff pulses nothing");

	unsigned seen = 0;

	for (uint64_t end = clock_now_ns(&f.vm.clock) + 5000000;
	     clock_now_ns(&f.vm.clock) < end && seen != 3; )
		seen |= in(0x61, 1) & 0x10 ? 2 : 1;
	ok(seen == 3, "port 0x61: memory is refreshed");
}

/* --- ACPI --- */

static void acpi(void)
{
	struct device    *pm = fake_find(&f, "acpi-pm");
	struct fake_sections saved, again;
	struct fail       why;

	ok(in(PM + 4, 2) == 1, "ACPI mode from the start");
	acpi_pm_button(pm);
	ok(in(PM, 2) == 0x100 && !f.line[SCI],
	   "the power button is noted, and heard only by who asked");
	out(PM + 2, 2, 0xffff);
	ok(in(PM + 2, 2) == ACPI_PM1_ENABLE && f.line[SCI], "enabled, it interrupts");
	out(PM, 2, 0x0020);
	ok(f.line[SCI], "another bit's acknowledgement is not its own");
	out(PM, 2, 0x0100);
	ok(in(PM, 2) == 0 && !f.line[SCI], "a written 1 clears");

	acpi_pm_gpe(pm, 5);
	acpi_pm_gpe(pm, 31);
	acpi_pm_gpe(pm, 32);
	out(PM + 0x24, 1, 0x20);
	ok(in(PM + 0x20, 4) == 0x80000020u && f.line[SCI],
	   "general purpose events, byte by byte as Linux takes them");
	fake_save(&f, "acpi-pm", &saved);
	board_reset(f.vm.board);
	ok(!f.line[SCI] && in(PM + 0x20, 8) == 0, "a reset takes all");
	ok(fake_load(&f, "acpi-pm", &saved, &why) == 0 && f.line[SCI],
	   "a load raises the line anew");
	fake_save(&f, "acpi-pm", &again);
	ok(!memcmp(saved.data[0], again.data[0], sizeof(struct acpi_pm_state)),
	   "and brings back every bit");
	out(PM + 0x20, 1, 0x20);
	ok(!f.line[SCI] && in(PM + 0x20, 4) == 0x80000000u,
	   "an event that is not enabled stays quiet");

	uint64_t t0 = in(PM + 8, 4), n0 = clock_now_ns(&f.vm.clock);

	while (clock_now_ns(&f.vm.clock) - n0 < 20000000)
		;
	uint64_t ticks = (uint32_t)(in(PM + 8, 4) - t0),
			 want = (clock_now_ns(&f.vm.clock) - n0) * ACPI_PM_HZ / 1000000000;

	ok(ticks >= 71590 && ticks <= want + want / 10 + 3580, "the timer runs at 3579545 Hz");

	((struct acpi_pm_state *)(void *)saved.data[0])->pm1_control = 0x2001;
	ok(fake_load(&f, "acpi-pm", &saved, &why) < 0,
	   "a state with bits that do not exist is refused");
}

static void ends(void)
{
	f.asked = 0;
	out(PM + 4, 2, 0x2001 | 1 << 10);
	ok(!f.asked, "a sleep that is not offered is not slept");
	out(PM + 4, 2, ACPI_PM_SLP_S5 << 10);
	ok(!f.asked && in(PM + 4, 2) == (ACPI_PM_SLP_S5 << 10 | 1),
	   "SLP_TYP alone does nothing yet");
	out(PM + 4, 2, 0x2000 | ACPI_PM_SLP_S5 << 10);
	ok(f.asked == 1u << VM_EVENT_SHUTDOWN && !(in(PM + 4, 2) & 0x2000), "S5 is the end");
	f.asked = 0;
	out(PM + 5, 1, 0x20 | ACPI_PM_SLP_S4 << 2);
	ok(asked(VM_EVENT_HIBERNATED), "S4 has saved itself, by a byte too");

	out(0xcf9, 1, 0x02);
	ok(!asked(VM_EVENT_RESET), "0xcf9: which reset, without asking for it");
	out(0xcf9, 1, CF9_RESET);
	ok(asked(VM_EVENT_RESET), "6 asks");
	out(0xcf9, 1, 0x0e);
	ok(asked(VM_EVENT_RESET), "and 14");

	ok(in(0x505, 1) == 3, "pvpanic understands both bits");
	out(0x505, 1, 2);
	ok(asked(VM_EVENT_CRASH_LOADED) && !f.vm.panic_text[0], "a crash kernel is told of");
	out(0x505, 1, 1);
	ok(asked(VM_EVENT_PANIC) && !strcmp(f.vm.panic_text, "guest panic"), "a panic says so");
	f.vm.panic_text[0] = 0;
	out(0xf4, 4, 0);
	ok(asked(VM_EVENT_SHUTDOWN) && !f.vm.panic_text[0], "debug exit 0 is a power-off");
	out(0xf4, 1, 7);
	ok(asked(VM_EVENT_PANIC) && !strcmp(f.vm.panic_text, "debug exit 7"),
	   "another number is told");
}

/* --- the generation ID --- */

static void guid(uint8_t id[16])
{
	guest_copy_out(&f.vm.memory, id, VMGENID_GPA, 16);
}

static void restart(void)
{
	struct fail why;

	board_pause(f.vm.board, &why);
	board_reset(f.vm.board);
	board_resume(f.vm.board, &why);
}

static void generation(void)
{
	static const uint8_t none[16];
	uint8_t              a[16], b[16];
	struct fake_sections    saved, again;
	struct fail          why;
	struct region       *r = &f.vm.memory.regions[0];
	const uint64_t       page = VMGENID_GPA >> GUEST_PAGE_SHIFT;

	restart();
	guid(a);
	ok(memcmp(a, none, 16), "an ID is in memory once the VM has started");
	fake_save(&f, "vmgenid", &saved);
	ok(!memcmp(((struct vmgenid_state *)(void *)saved.data[0])->guid, a, 16),
	   "the same as is saved");

	atomic_store(&r->dirty[page / 64], 0);
	board_pause(f.vm.board, &why);
	board_reset(f.vm.board);
	fake_load(&f, "vmgenid", &saved, &why);
	board_resume(f.vm.board, &why);
	guid(b);
	fake_save(&f, "vmgenid", &again);
	ok(!memcmp(a, b, 16) &&
	   !memcmp(saved.data[0], again.data[0], sizeof(struct vmgenid_state)) &&
	   !atomic_load(&r->dirty[page / 64]),
	   "a reset with a load behind it leaves ID and memory alone");

	ok(board_copied(f.vm.board, &why) == 0, "a copy gets a new ID");
	guid(b);
	ok(memcmp(a, b, 16) && memcmp(b, none, 16) &&
	   atomic_load(&r->dirty[page / 64]) >> page % 64 & 1,
	   "which is in memory, and marked");
	ok(in(PM + 0x20, 4) & 1u << ACPI_GPE_VMGENID, "the guest is told");
	restart();
	guid(a);
	ok(memcmp(a, b, 16) && memcmp(a, none, 16), "power-on is a new generation");
	ok(rd(&f, GENID, 8) == 0, "its registers read zero");
}

/* --- a hostile guest --- */

static void any_access(void)
{
	static const unsigned sizes[] = { 1, 2, 3, 4, 8 };
	uint32_t              x       = 2463534242;

	for (uint32_t i = 0; i < f.vm.cfg.ndevices; i++) {
		const struct machine_device *d = &f.vm.cfg.devices[i];

		for (unsigned n = 0; n < 4000; n++) {
			x ^= x << 13, x ^= x >> 17, x ^= x << 5;
			uint64_t at = x % d->size;

			wr(&f, d->gpa + at, sizes[x >> 8 & 3], (uint64_t)x << 32 | (x >> 3));
			rd(&f, d->gpa + at, sizes[x >> 16 & 3]);
			rd(&f, d->gpa + at, sizes[4]);
		}
	}
	fake_run(&f, 50);
	for (size_t i = 0; i < f.vm.cfg.ndevices; i++) {
		struct device    *d = f.vm.board->devices[i];
		struct state_section sections[MACHINE_SECTIONS_MAX];
		size_t            n = 0;

		if (d->ops->sections)
			n = d->ops->sections(d, sections, MACHINE_SECTIONS_MAX);
		for (size_t p = 0; p < n; p++) {
			const struct state_table *t = sections[p].table;
			struct fail               why;
			bool                      fits;

			fits = !t->check || t->check(sections[p].s, &why) == 0;
			for (const struct field *fl = t->fields; fl->type != FIELD_END; fl++)
				for (uint32_t e = 0; fl->type != FIELD_BYTES && e < fl->count; e++)
					fits = fits && state_value(fl, sections[p].s, e) <= fl->max;
			ok(fits, t->name);
		}
	}
}

int main(void)
{
	start();
	shows_time();
	is_set();
	interrupts();
	clock_is_saved();
	keyboard();
	acpi();
	ends();
	generation();
	any_access();
	fake_close(&f);
	return done_testing();
}
