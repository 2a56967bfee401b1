/* SPDX-License-Identifier: MIT */
/* The timers guest: the LAPIC's timer and the PIT behind the 8259s, each at 100 Hz, count
 * interrupts in memory. Once a second of the LAPIC's it prints "tick K pit N": K seconds, N
 * interrupts of the PIT so far. A TSC that goes back is BAD. Keys: q power off. */
#include <stdint.h>
#include "x86_64.h"
#include "guest.h"

#define PIT_VECTOR 0x20
#define PIT_COUNT  11932            /* of 1193182 Hz */

volatile uint64_t lapic_ticks, pit_ticks;
extern uint8_t count_lapic[], count_pit[];

static void timers_on(void)
{
	static const uint8_t setup[][2] = {      /* 8259s: vectors from 0x20, IRQ 0 alone */
		{ 0x20, 0x11 }, { 0x21, PIT_VECTOR }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 },
		{ 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 },
		{ 0x21, 0xfe }, { 0xa1, 0xff }, { 0x43, 0x34 }, { 0x40, PIT_COUNT & 0xff },
		{ 0x40, PIT_COUNT >> 8 },
	};

	gate(VECTOR, (void (*)(void))count_lapic);
	gate(PIT_VECTOR, (void (*)(void))count_pit);
	lapic_out(0x350, 0x700);                 /* LINT0: what the 8259s say */
	lapic_out(0x320, 1 << 17 | VECTOR);      /* periodic */
	lapic_out(0x380, 10000000);
	for (unsigned i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
		outb(setup[i][0], setup[i][1]);
}

void hart_main(uint64_t h);
void hart_main(uint64_t h)
{
	(void)h;
}

void boot_main(uint64_t h, const uint8_t *arg);
void boot_main(uint64_t h, const uint8_t *arg)
{
	uint64_t last = 0, told = 0;

	(void)h;
	(void)arg;
	say("timers guest: hertz ", 100, 0, 0);
	timers_on();
	for (;;) {
		uint64_t t = now(), n = lapic_ticks;

		if (t < last) {
			say("BAD tsc ", t, " after ", last);
			power(0);
		}
		last = t;
		if (n / 100 != told)
			say("tick ", told = n / 100, " pit ", pit_ticks);
		if (key() == 'q') {
			say("bye ", lapic_ticks, 0, 0);
			power(0);
		}
		__asm__ volatile("sti; hlt; cli" ::: "memory");
	}
}

__asm__(
	"count_lapic:\n"
	"	push %rax\n"
	"	incq lapic_ticks\n"
	"	mov $0xfee000b0, %eax\n"
	"	movl $0, (%rax)\n"
	"	pop %rax\n"
	"	iretq\n"
	"count_pit:\n"
	"	push %rax\n"
	"	incq pit_ticks\n"
	"	mov $0x20, %al\n"
	"	out %al, $0x20\n"
	"	pop %rax\n"
	"	iretq\n"
);
