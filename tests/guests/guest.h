/* SPDX-License-Identifier: MIT */
/* What the bare-metal guests have in common: whole lines on the UART, options on the kernel
 * command line. A machine's header (riscv64.h, x86_64.h) comes before it, with:
 *
 *   RAM, HARTS       where memory begins; at most so many CPUs
 *   uart_in, uart_out
 *   now, TICKS_US    a clock and how many of its ticks make a microsecond
 *   wait_until       that clock has come; long waits sleep
 *   power            off, or a reset
 *   arg_text         the command line (or what holds it) and its length, from what _start was given
 *   harts_here       how many CPUs there are; hart_start lets one run hart_main */
#ifndef GUEST_H
#define GUEST_H

static volatile uint32_t uart_lock;

static void put(char c)
{
	while (!(uart_in(5) & 0x20))
		;
	uart_out(0, (uint8_t)c);
}

/* What was typed, 0 when nothing was. */
static uint8_t key(void)
{
	return uart_in(5) & 1 ? uart_in(0) : 0;
}

/* Harts print whole lines. */
static void say(const char *a, unsigned long n, const char *b, unsigned long m)
{
	char digits[24];

	while (__sync_lock_test_and_set(&uart_lock, 1))
		;
	for (int round = 0; round < 2; round++) {
		const char   *s = round ? b : a;
		unsigned long v = round ? m : n;
		int           k = 0;

		if (!s)
			break;
		while (*s)
			put(*s++);
		do {
			digits[k++] = (char)('0' + v % 10);
			v /= 10;
		} while (v);
		while (k)
			put(digits[--k]);
	}
	put('\n');
	__sync_lock_release(&uart_lock);
}

/* The value of name=; it is enough here to look for these bytes. */
static unsigned long option(const uint8_t *text, uint32_t len, const char *name,
			    unsigned long fallback)
{
	for (uint32_t i = 0; i < len; i++) {
		uint32_t n = 0;

		while (name[n] && i + n < len && text[i + n] == (uint8_t)name[n])
			n++;
		if (name[n])
			continue;
		unsigned long v = 0;

		for (i += n; i < len && text[i] >= '0' && text[i] <= '9'; i++)
			v = v * 10 + (text[i] - '0');
		return v;
	}
	return fallback;
}

#endif
