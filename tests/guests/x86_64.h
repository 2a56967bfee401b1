/* SPDX-License-Identifier: MIT */
/* The bare-metal x86-64 machine, as the 64-bit Linux boot protocol hands it over (long mode,
 * identity-mapped, rsi = zero page): tables of our own, other CPUs by INIT and SIPI, waits with
 * the LAPIC's timer. Memory: the program at 2 MiB; page 0x8000 is the trampoline. Only
 * instructions that KVM's emulator knows: no SSE, no int3, no rep stos. */
#ifndef GUEST_X86_64_H
#define GUEST_X86_64_H

#include "x86.h"

#define RAM      0ul
#define HARTS    8
#define TICKS_US ticks_us
#define LAPIC    0xfee00000ul
#define VECTOR   0x40               /* of the LAPIC's timer */

static uint64_t ticks_us;           /* of the TSC */

static uint32_t lapic_in(unsigned reg) { return *(volatile uint32_t *)(LAPIC + reg); }
static void lapic_out(unsigned reg, uint32_t v) { *(volatile uint32_t *)(LAPIC + reg) = v; }

/* Interrupts are let in only while it sleeps. The LAPIC's timer counts nanoseconds (divisor 1). */
static void wait_until(uint64_t until, int sleep)
{
	uint64_t t;

	while ((t = now()) < until) {
		if (!sleep)
			continue;
		lapic_out(0x380, (uint32_t)((until - t) * 1000 / ticks_us) + 1000);
		__asm__ volatile("sti; hlt; cli" ::: "memory");
	}
}

static const uint8_t *arg_text(const uint8_t *arg, uint32_t *len)
{
	/* cmd_line_ptr */
	const uint8_t *text = (const uint8_t *)(uint64_t)*(const uint32_t *)(arg + 0x228);

	for (*len = 0; text && *len < 2048 && text[*len]; ++*len)
		;
	return text;
}

/* The enabled local APICs that the MADT lists, by boot_params' acpi_rsdp_addr. Their ids count
 * from 0. */
static uint64_t harts_here(const uint8_t *arg)
{
	const uint8_t *rsdp = (const uint8_t *)*(const uint64_t *)(arg + 0x70);
	uint64_t       n = 0;

	if (!rsdp)
		return 1;
	const uint8_t *xsdt = (const uint8_t *)*(const uint64_t *)(rsdp + 24);

	for (uint32_t i = 36; i + 8 <= *(const uint32_t *)(xsdt + 4); i += 8) {
		const uint8_t *madt = (const uint8_t *)*(const uint64_t *)(xsdt + i);

		if (*(const uint32_t *)madt != 0x43495041)      /* "APIC" */
			continue;
		for (uint32_t at = 44; at < *(const uint32_t *)(madt + 4); at += madt[at + 1])
			if (madt[at] == 0 && (madt[at + 4] & 1) && n < HARTS)
				n++;
	}
	return n ? n : 1;
}

extern uint8_t trampoline[], trampoline_end[];
extern uint64_t page_tables[6][512], gates[VECTOR + 1][2];
extern uint8_t timer_interrupt[];

static void hart_start(uint64_t i)
{
	for (uint64_t n = 0; n < (uint64_t)(trampoline_end - trampoline); n++)
		((volatile uint8_t *)0x8000)[n] = trampoline[n];
	lapic_out(0x310, (uint32_t)i << 24);
	lapic_out(0x300, 0x4500);               /* INIT */
	wait_until(now() + 200 * ticks_us, 0);
	lapic_out(0x310, (uint32_t)i << 24);
	lapic_out(0x300, 0x4608);               /* SIPI to 0x8000 */
}

static void gate(unsigned vector, void (*handler)(void))
{
	uint64_t at = (uint64_t)handler;

	gates[vector][0] = (at & 0xffff) | 0x10ul << 16 | 0x8e00ul << 32 |
			   (at >> 16 & 0xffff) << 48;
	gates[vector][1] = at >> 32;
}

/* Each CPU, before anything else: its LAPIC on, the timer's interrupt at VECTOR, none from the
 * 8259s. */
void x86_hart(void);
void x86_hart(void)
{
	lapic_out(0xf0, 0x1ff);
	lapic_out(0x350, 1 << 16);
	lapic_out(0x3e0, 0xb);
	lapic_out(0x320, VECTOR);
}

/* The first CPU: page tables for 4 GiB, the interrupt table, the TSC's rate by 2 ms of the
 * LAPIC's timer. */
void x86_boot(void);
void x86_boot(void)
{
	page_tables[0][0] = (uint64_t)page_tables[1] | 3;
	for (uint64_t i = 0; i < 4; i++) {
		page_tables[1][i] = (uint64_t)page_tables[2 + i] | 3;
		for (uint64_t k = 0; k < 512; k++)
			page_tables[2 + i][k] = i << 30 | k << 21 | 0x83;
	}
	__asm__ volatile("mov %0, %%cr3" :: "r"(page_tables) : "memory");
	gate(VECTOR, (void (*)(void))timer_interrupt);
	x86_hart();
	lapic_out(0x320, 1 << 16 | VECTOR);
	lapic_out(0x380, 0xffffffff);
	uint64_t from = now();
	uint32_t left;

	do
		left = lapic_in(0x390);
	while (0xffffffff - left < 2000000);
	ticks_us = (now() - from) * 1000 / (0xffffffff - left);
	lapic_out(0x380, 0);
	lapic_out(0x320, VECTOR);
}

__asm__(
	".section .text.start,\"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"	cli\n"
	"	mov $stacks + 4096, %rsp\n"
	"	lgdt gdtr\n"
	"	lidt idtr\n"
	"	push %rsi\n"
	"	push %rsi\n"
	"	call x86_boot\n"
	"	pop %rsi\n"
	"	pop %rsi\n"
	"	xor %edi, %edi\n"
	"	call boot_main\n"
	".globl trampoline\n"
	/* At 0x8000 in real mode, to long mode at one stride. */
	".code16\n"
	"trampoline:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl 0x8000 + trampoline_gdtr - trampoline\n"
	"	mov $1, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $0x8000 + trampoline_32 - trampoline\n"
	".code32\n"
	"trampoline_32:\n"
	"	mov $0x18, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov $0x20, %eax\n"
	"	mov %eax, %cr4\n"
	"	mov $page_tables, %eax\n"
	"	mov %eax, %cr3\n"
	"	mov $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	or $0x100, %eax\n"
	"	wrmsr\n"
	"	mov $0x80000001, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmp $0x10, $hart_entry\n"
	"trampoline_gdtr: .word 31\n"
	"	.long gdt\n"
	".globl trampoline_end\n"
	"trampoline_end:\n"
	".code64\n"
	"hart_entry:\n"
	"	lidt idtr\n"
	"	mov $0xfee00020, %ebx\n"
	"	mov (%rbx), %ebx\n"
	"	shr $24, %ebx\n"
	"	mov %ebx, %eax\n"
	"	shl $12, %eax\n"
	"	lea stacks + 4096(%rax), %rsp\n"
	"	call x86_hart\n"
	"	mov %ebx, %edi\n"
	"	call hart_main\n"
	".globl timer_interrupt\n"
	"timer_interrupt:\n"
	"	push %rax\n"
	"	mov $0xfee000b0, %eax\n"
	"	movl $0, (%rax)\n"
	"	pop %rax\n"
	"	iretq\n"
	".balign 16\n"
	"gdt: .quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
	"gdtr: .word 31\n"
	"	.quad gdt\n"
	"idtr: .word 16 * 65 - 1\n"
	"	.quad gates\n"
	".section .bss\n"
	".balign 4096\n"
	".globl page_tables, gates\n"
	"page_tables: .space 6 * 4096\n"
	"stacks: .space 8 * 4096\n"
	"gates: .space 16 * 65\n"
	".text\n"
);

#endif
