/* SPDX-License-Identifier: MIT */
/* The one-step guest: a bare-metal program that checks itself and can be checked from outside.
 *
 * Each hart owns a slice of the pages and increments byte 0 of each in order, for ever. So at any
 * instant the values of a slice are all equal but for one step at the hart's position: anything
 * else is a lost or a stale page. Before it increments, the hart checks that the page holds what
 * its round says and the pattern that was written at start; if not, it prints BAD and powers off.
 * The idea is that of the a-b boot block of QEMU's migration test.
 *
 * bootargs:
 *   pages=N   (default 4096)
 *   pace=US   between steps (default 0)
 *   tick=N    prints "tick K" each N steps of hart 0
 *   harts=N   starts that many (default: all that there are)
 *   still=1   pages are filled, nothing is stepped
 * keys on the UART: q power off, r reboot, c check all slices of hart 0 now, p print the status
 *
 * Memory: this program at RAM base + 2 MiB, the status page at + 6 MiB, the pages at + 8 MiB. */
#include <stdint.h>
#ifdef __riscv
#include "riscv64.h"
#else
#include "x86_64.h"
#endif
#include "guest.h"

#define STATUS  (RAM + 0x600000)
#define PAGES   (RAM + 0x800000)
#define PAGE    4096ul
#define PATTERN 0x5354455047554553ul

/* Read by tests/tools/stepcheck.c. */
struct status {
	char              magic[8];         /* "STEPGUES" */
	uint64_t          npages, nharts;
	uint64_t          nonce;            /* time at power-on: tells a restore from a reboot */
	struct {
		volatile uint64_t steps;    /* finished increments */
		uint64_t first, count;      /* its slice */
		uint64_t started;
		uint64_t pad[4];
	} hart[HARTS];
};

#define S ((volatile struct status *)STATUS)

static uint64_t pace_us, tick_every;

static volatile uint8_t *page_at(uint64_t i)
{
	return (volatile uint8_t *)(PAGES + i * PAGE);
}

static void bad(uint64_t page, uint64_t got)
{
	say("BAD page ", page, " holds ", got);
	power(0);
}

static void check(uint64_t h)
{
	uint64_t steps = S->hart[h].steps, count = S->hart[h].count;
	uint64_t round = steps / count, at = steps % count;

	for (uint64_t i = 0; i < count; i++) {
		volatile uint8_t *p = page_at(S->hart[h].first + i);

		if (p[0] != (uint8_t)(round + (i < at)))
			bad(S->hart[h].first + i, p[0]);
	}
	say("CHECK ok hart ", h, " steps ", steps);
}

static void keys(void)
{
	switch (key()) {
	case 'q': say("bye ", S->hart[0].steps, 0, 0); power(0); break;
	case 'r': power(1); break;
	case 'c': check(0); break;
	case 'p': say("status steps ", S->hart[0].steps, " nonce ", S->nonce); break;
	}
}

static void step_for_ever(uint64_t h)
{
	uint64_t first = S->hart[h].first, count = S->hart[h].count, steps = 0;

	for (uint8_t round = 0;; round++) {
		for (uint64_t i = 0; i < count; i++) {
			volatile uint8_t *p = page_at(first + i);

			if (p[0] != round)
				bad(first + i, p[0]);
			if (*(volatile uint64_t *)(p + 8) != ((first + i) ^ PATTERN))
				bad(first + i, 999);
			p[0] = (uint8_t)(p[0] + 1);
			S->hart[h].steps = ++steps;
			if (h == 0 && tick_every && steps % tick_every == 0)
				say("tick ", steps / tick_every, 0, 0);
			if (pace_us)
				wait_until(now() + pace_us * TICKS_US, pace_us >= 200);
			if (h == 0 && (steps & 63) == 0)
				keys();
		}
	}
}

void hart_main(uint64_t h);
void hart_main(uint64_t h)
{
	S->hart[h].started = 1;
	step_for_ever(h);
}

void boot_main(uint64_t h, const uint8_t *arg);
void boot_main(uint64_t h, const uint8_t *arg)
{
	uint32_t       len;
	const uint8_t *text = arg_text(arg, &len);
	uint64_t       npages = option(text, len, "pages=", 4096);
	uint64_t       want   = option(text, len, "harts=", HARTS);
	uint64_t       still = option(text, len, "still=", 0), nharts = harts_here(arg);

	if (nharts > want)
		nharts = want;
	pace_us    = option(text, len, "pace=", 0);
	tick_every = option(text, len, "tick=", 0);
	S->npages = npages;
	S->nharts = nharts;
	S->nonce  = now() ^ (uint64_t)arg << 20;
	for (uint64_t i = 0; i < npages; i++) {
		page_at(i)[0] = 0;
		*(volatile uint64_t *)(page_at(i) + 8) = i ^ PATTERN;
	}
	for (uint64_t i = 0; i < nharts; i++) {
		S->hart[i].first = npages * i / nharts;
		S->hart[i].count = npages * (i + 1) / nharts - S->hart[i].first;
	}
	for (int i = 0; i < 8; i++)
		S->magic[i] = "STEPGUES"[i];
	__sync_synchronize();
	say("step guest: pages ", npages, " harts ", nharts);
	for (uint64_t i = 0; i < nharts; i++)
		if (i != h && !still)
			hart_start(i);
	S->hart[h].started = 1;
	while (still)
		keys();
	step_for_ever(h);
}
