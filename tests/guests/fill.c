/* SPDX-License-Identifier: MIT */
/* The fill guest: memory that compresses as little as memory can, then nothing more. `make bench`
 * saves and moves it; its CPU sleeps, so that all the CPU time of its host is the copy's.
 *
 * bootargs:
 *   mib=N     MiB that are filled (default 64); RAM needs 16 MiB more
 *   half=1    every other 64 KiB holds zeros, which are written too: no page is left untouched
 *   apart=N   only the first 64 KiB of each N MiB, and the last 64 KiB
 *   again=1   then adds 1 to the first word of each of these, for ever
 *
 * Prints "fill guest: mib N half H" when memory is filled.
 * Memory: this program at RAM base + 2 MiB, what is filled at + 8 MiB. */
#include <stdint.h>
#include "riscv64.h"
#include "guest.h"

#define FILL  (RAM + 0x800000)
#define PIECE 65536ul

void hart_main(uint64_t h);
void hart_main(uint64_t h)
{
	(void)h;
}

static uint64_t random_word(void)
{
	static uint64_t x = 88172645463325252u;        /* any but 0: xorshift64 */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void fill(volatile uint64_t *p)
{
	for (unsigned i = 0; i < PIECE / sizeof(*p); i++)
		p[i] = random_word();
}

/* The pieces of apart=, and what again=1 does to them. */
static void fill_apart(uint64_t mib, uint64_t apart, uint64_t again)
{
	uint64_t last = FILL + (mib << 20) - PIECE;

	for (uint64_t at = FILL; at < last; at += apart << 20)
		fill((volatile uint64_t *)at);
	fill((volatile uint64_t *)last);
	say("fill guest: mib ", mib, " apart ", apart);
	while (again) {
		for (uint64_t at = FILL; at < last; at += apart << 20)
			++*(volatile uint64_t *)at;
		++*(volatile uint64_t *)last;
	}
}

void boot_main(uint64_t h, const uint8_t *arg);
void boot_main(uint64_t h, const uint8_t *arg)
{
	uint32_t           len;
	const uint8_t     *text = arg_text(arg, &len);
	uint64_t           mib  = option(text, len, "mib=", 64);
	uint64_t           half = option(text, len, "half=", 0);
	uint64_t           apart = option(text, len, "apart=", 0);
	volatile uint64_t *p    = (volatile uint64_t *)FILL;
	volatile uint64_t *end  = (volatile uint64_t *)(FILL + (mib << 20));

	(void)h;
	if (apart)
		fill_apart(mib, apart, option(text, len, "again=", 0));
	for (uint64_t piece = 0; !apart && p < end; piece++) {
		volatile uint64_t *next = p + PIECE / sizeof(*p);

		if (half && piece & 1) {
			while (p < next)
				*p++ = 0;
			continue;
		}
		fill(p);
		p = next;
	}
	if (!apart)
		say("fill guest: mib ", mib, " half ", half);
	for (;;)
		__asm__ volatile("wfi");
}
