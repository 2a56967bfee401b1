/* SPDX-License-Identifier: MIT */
/* The bare-metal RV64 machine: S mode, SBI below it. Memory: the program at RAM + 2 MiB. */
#ifndef GUEST_RISCV64_H
#define GUEST_RISCV64_H

#define RAM      0x80000000ul
#define HARTS    8
#define TICKS_US 10ul              /* 10 MHz */
#define UART     ((volatile uint8_t *)0x10000000ul)

static long sbi(long ext, long fid, unsigned long x, unsigned long y, unsigned long z)
{
	register unsigned long a0 __asm__("a0") = x;
	register unsigned long a1 __asm__("a1") = y;
	register unsigned long a2 __asm__("a2") = z;
	register long a6 __asm__("a6") = fid;
	register long a7 __asm__("a7") = ext;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	return (long)a0;
}

static void power(int reboot)
{
	sbi(0x53525354, 0, reboot ? 1 : 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

static uint64_t now(void)
{
	uint64_t t;

	__asm__ volatile("csrr %0, time" : "=r"(t));
	return t;
}

static uint8_t uart_in(unsigned reg) { return UART[reg]; }
static void uart_out(unsigned reg, uint8_t v) { UART[reg] = v; }

static void wait_until(uint64_t until, int sleep)
{
	if (sleep) {
		__asm__ volatile("csrw 0x14d, %0" :: "r"(until));       /* stimecmp */
		__asm__ volatile("csrs sie, %0" :: "r"(1ul << 5));
	}
	while (now() < until)
		if (sleep)
			__asm__ volatile("wfi");
}

/* arg is the DTB: the command line is somewhere in it. */
static const uint8_t *arg_text(const uint8_t *arg, uint32_t *len)
{
	*len = (uint32_t)arg[4] << 24 | (uint32_t)arg[5] << 16 | (uint32_t)arg[6] << 8 | arg[7];
	return arg;
}

static uint64_t harts_here(const uint8_t *arg)
{
	uint64_t n = 0;

	(void)arg;
	for (uint64_t i = 0; i < HARTS; i++)
		if (sbi(0x48534d, 2, i, 0, 0) >= 0)     /* HSM status: the hart exists */
			n = i + 1;
	return n;
}

extern void hart_entry(void);

static void hart_start(uint64_t i)
{
	sbi(0x48534d, 0, i, (unsigned long)hart_entry, i);
}

__asm__(
	".section .text.start,\"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"	la sp, stacks\n"
	"	addi t0, a0, 1\n"
	"	slli t0, t0, 12\n"
	"	add sp, sp, t0\n"
	"	j boot_main\n"
	".globl hart_entry\n"
	"hart_entry:\n"
	"	la sp, stacks\n"
	"	addi t0, a0, 1\n"
	"	slli t0, t0, 12\n"
	"	add sp, sp, t0\n"
	"	j hart_main\n"
	".section .bss\n"
	".balign 4096\n"
	"stacks: .space 8 * 4096\n"
	".text\n"
);

#endif
