/* SPDX-License-Identifier: MIT */
/* Ports, power and the TSC, in 32 and in 64 bits. */
#ifndef GUEST_X86_H
#define GUEST_X86_H

#define UART 0x3f8

static uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port) : "memory");
}
static void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" :: "a"(v), "Nd"(port) : "memory");
}

static uint8_t uart_in(unsigned reg) { return inb((uint16_t)(UART + reg)); }
static void uart_out(unsigned reg, uint8_t v) { outb((uint16_t)(UART + reg), v); }

static void power(int reboot)
{
	if (reboot)
		outb(0xcf9, 6);
	else
		outw(0x604, 5 << 10 | 1 << 13);         /* PM1a control: SLP_EN, S5 */
	for (;;)
		__asm__ volatile("cli; hlt");
}

static uint64_t now(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

#endif
