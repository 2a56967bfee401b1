/* SPDX-License-Identifier: MIT */
/* The fill guest: memory that compresses as little as memory can, then nothing more. `make bench`
 * saves and moves it; its CPU sleeps, so that all the CPU time of its host is the copy's.
 *
 * bootargs:
 *   mib=N     MiB that are filled (default 64); RAM needs 16 MiB more
 *   half=1    every other 64 KiB holds zeros, which are written too: no page is left untouched
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

void boot_main(uint64_t h, const uint8_t *arg);
void boot_main(uint64_t h, const uint8_t *arg)
{
	uint32_t           len;
	const uint8_t     *text = arg_text(arg, &len);
	uint64_t           mib  = option(text, len, "mib=", 64);
	uint64_t           half = option(text, len, "half=", 0);
	uint64_t           x    = 88172645463325252u;        /* any but 0: xorshift64 */
	volatile uint64_t *p    = (volatile uint64_t *)FILL;
	volatile uint64_t *end  = (volatile uint64_t *)(FILL + (mib << 20));

	(void)h;
	for (uint64_t piece = 0; p < end; piece++) {
		volatile uint64_t *next = p + PIECE / sizeof(*p);

		if (half && piece & 1) {
			while (p < next)
				*p++ = 0;
			continue;
		}
		while (p < next) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			*p++ = x;
		}
	}
	say("fill guest: mib ", mib, " half ", half);
	for (;;)
		__asm__ volatile("wfi");
}
