/* SPDX-License-Identifier: MIT */
/*
 * The guest that means harm, started as pvh_x86.c is: each of its CPUs does by chance what no
 * driver does, on every port, device window and chip there is, with every size; fills virtqueues
 * with rubbish, hands out addresses anywhere, floods interrupts.
 *
 * command line: seed=N decides; steps=N (0: no end), then it powers off; gentle=1 leaves out what
 * ends it by itself: the ports of power, reset, panic and debug exit, and INIT and SIPI, which
 * make CPUs run rubbish
 */
#include <stdint.h>
#include "x86.h"
#include "guest.h"

struct start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, cmdline, rsdp;
};

#define LAPIC  0xfee00000u
#define IOAPIC 0xfec00000u
#define VIRTIO 0xd0000000u
#define SCRATCH 0x800000u       /* 1 MiB that may be overwritten */

static uint32_t seed;
static uint32_t gentle;

static uint32_t chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static uint32_t strange(void)
{
	switch (chance() % 6) {
	case 0:  return 0;
	case 1:  return 0xffffffff;
	case 2:  return 1u << chance() % 32;
	case 3:  return chance() % 64;
	default: return chance();
	}
}

/* ---- ports ---- */

static uint16_t some_port(void)
{
	static const uint16_t near[] = { 0x20, 0x40, 0x60, 0x70, 0x80, 0xa0, 0xf4, 0x3f8, 0x4d0,
					 0x505, 0x600, 0x604, 0x608, 0x620, 0xcf8 };

	for (;;) {
		uint16_t p = (uint16_t)(chance() % 8
					? near[chance() % (sizeof(near) / 2)] + chance() % 10
					: chance());

		if (!gentle || !(p == 0xf4 || p == 0xf5 || p == 0xf6 || p == 0xf7 ||
				 (p >= 0x500 && p < 0x508) || (p >= 0x5fc && p < 0x640) ||
				 (p >= 0xcf0 && p < 0xd00) || p == 0x60 || (p > 0x5c && p < 0x66) ||
				 p == 0x92))
			return p;
	}
}

static void ports(void)
{
	const uint16_t p     = some_port();
	uint32_t       count = chance() % 4 ? chance() % 64 : chance() % 4096, v = strange();
	uint32_t       at    = SCRATCH + chance() % 0x80000;

	switch (chance() % 12) {
	case 0:
		__asm__ volatile("cld; rep outsb" : "+S"(at), "+c"(count) : "d"(p) : "memory");
		break;
	case 1:
		__asm__ volatile("cld; rep insb" : "+D"(at), "+c"(count) : "d"(p) : "memory");
		break;
	case 2:
		__asm__ volatile("cld; rep outsl" : "+S"(at), "+c"(count) : "d"(p) : "memory");
		break;
	case 3:
		__asm__ volatile("cld; rep insw" : "+D"(at), "+c"(count) : "d"(p) : "memory");
		break;
	case 4:  __asm__ volatile("inb %1, %%al" : "+a"(v) : "d"(p)); break;
	case 5:  __asm__ volatile("inw %1, %%ax" : "+a"(v) : "d"(p)); break;
	case 6:  __asm__ volatile("inl %1, %0" : "=a"(v) : "d"(p)); break;
	case 7:  outw(p, (uint16_t)v); break;
	case 8:  __asm__ volatile("outl %0, %1" :: "a"(v), "d"(p)); break;
	default: outb(p, (uint8_t)v);
	}
}

/* ---- memory that is none ---- */

static uint32_t some_address(void)
{
	switch (chance() % 8) {
	case 0:  return 0xc0000000u + chance() % 0x30000000u;
	case 1:  return IOAPIC + chance() % 0x20;
	case 2:  return 0xfed40000u + chance() % 0x1010;
	case 3:  return 0xd0000ff8u + (chance() % 33) * 0x1000 + chance() % 8;
	default: return VIRTIO + chance() % 4 * 0x1000 + chance() % 0x120;
	}
}

static void windows(void)
{
	const uint32_t at = some_address(), v = strange();

	switch (chance() % 6) {
	case 0:  *(volatile uint8_t *)at = (uint8_t)v; break;
	case 1:  *(volatile uint16_t *)at = (uint16_t)v; break;
	case 2:  (void)*(volatile uint8_t *)at; break;
	case 3:  (void)*(volatile uint16_t *)at; break;
	case 4:  (void)*(volatile uint32_t *)at; break;
	default: *(volatile uint32_t *)at = v;
	}
}

/* ---- virtio ---- */

static uint32_t some_page(void)
{
	switch (chance() % 8) {
	/* the tables of ACPI, the VMGENID */
	case 0:  return 0xe0000u + chance() % 16 * 0x1000;
	case 1:  return strange();
	case 2:  return 0;
	default: return SCRATCH + chance() % 64 * 0x1000;
	}
}

static void vreg(uint32_t dev, uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(VIRTIO + dev * 0x1000 + reg) = v;
}

/* Sets a queue up somehow, fills it somehow, kicks it. */
static void queue(void)
{
	const uint32_t     dev = chance() % 4, q = chance() % 3;
	uint32_t           desc = some_page(), avail = some_page(), used = some_page();
	uint32_t           n    = 1u << chance() % 9;
	volatile uint32_t *d = (volatile uint32_t *)(SCRATCH + chance() % 64 * 0x1000);

	if (chance() % 4 == 0) {
		vreg(dev, 0x70, 0);
		vreg(dev, 0x70, 3);
		vreg(dev, 0x24, 1);
		vreg(dev, 0x20, 1);
		vreg(dev, 0x70, 11);
		vreg(dev, 0x70, 15);
	}
	vreg(dev, 0x30, q);
	vreg(dev, 0x38, chance() % 8 ? n : strange());
	vreg(dev, 0x80, desc);
	vreg(dev, 0x84, chance() % 16 ? 0 : strange());
	vreg(dev, 0x90, avail);
	vreg(dev, 0x94, chance() % 16 ? 0 : strange());
	vreg(dev, 0xa0, used);
	vreg(dev, 0xa4, chance() % 16 ? 0 : strange());
	vreg(dev, 0x44, 1);
	for (uint32_t i = 0; i < 32; i++)
		if (chance() % 2)
			d[chance() % 1024] = chance() % 2 ? strange() : some_page();
	for (uint32_t i = 0; i < 8; i++) {      /* and descriptors that may do something */
		d[i * 4]     = some_page();
		d[i * 4 + 1] = chance() % 16 ? 0 : strange();
		d[i * 4 + 2] = chance() % 4 ? chance() % 8192 : strange();
		d[i * 4 + 3] = chance() % 8 | (chance() % 9) << 16;
	}
	for (uint32_t i = chance() % 8; i--;) {
		if (avail >= SCRATCH && avail < SCRATCH + 0x40000) {
			((volatile uint16_t *)avail)[2 + chance() % 256] = (uint16_t)(chance() % 8);
			((volatile uint16_t *)avail)[1]                  =
				(uint16_t)(((volatile uint16_t *)avail)[1] +
					   (chance() % 8 ? 1 : strange()));
		}
		vreg(dev, 0x50, chance() % 8 ? q : strange());
	}
}

/* ---- chips ---- */

static void apic(void)
{
	static const uint16_t regs[] = { 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x310, 0x320, 0x330,
					 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0 };
	const uint32_t        v      = strange();

	if (chance() % 2) {
		*(volatile uint32_t *)IOAPIC          = chance() % 64;
		*(volatile uint32_t *)(IOAPIC + 0x10) = gentle ? v & ~0x700u : v;
	} else if (chance() % 4) {
		*(volatile uint32_t *)(LAPIC + regs[chance() % (sizeof(regs) / 2)]) =
			gentle ? v & ~0x700u : v;
	} else {
		*(volatile uint32_t *)(LAPIC + 0x300) = gentle ? (v & ~0x700u) : v;
	}
}

/* Interrupts come to nobody: the IDT has a gate a vector, which returns. */
static uint64_t idt[256];

static void interrupts(void)
{
	extern const char gate[], gate_error[];
	const struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) at = { sizeof(idt) - 1, (uint32_t)(uintptr_t)idt };
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t to = (uint32_t)(uintptr_t)(i == 8 || (i >= 10 && i <= 14) || i == 17
						    ? gate_error : gate);

		idt[i] = (uint64_t)(to & 0xffff0000u) << 32 | UINT64_C(0x8e00) << 32 |
			 (uint32_t)cs << 16 | (to & 0xffff);
	}
	__asm__ volatile("lidt %0" :: "m"(at));
}

static void step(void)
{
	switch (chance() % 8) {
	case 0: case 1: ports(); break;
	case 2: case 3: windows(); break;
	case 4: case 5: queue(); break;
	case 6: apic(); break;
	default:
		if (chance() % 4 == 0)
			__asm__ volatile("sti; nop; nop; cli");
	}
}

void boot_main(const struct start_info *info);
void boot_main(const struct start_info *info)
{
	const uint8_t *text = (const uint8_t *)(uint32_t)info->cmdline;
	uint32_t       len = 0;

	while (text && len < 2048 && text[len])
		len++;
	seed                = (uint32_t)option(text, len, "seed=", 1) * 2654435761u | 1;
	gentle              = (uint32_t)option(text, len, "gentle=", 0);
	unsigned long steps = option(text, len, "steps=", 0);

	say("chaos guest: seed ", option(text, len, "seed=", 1), 0, 0);
	interrupts();
	for (unsigned long n = 0; !steps || n < steps; n++)
		step();
	power(0);
}

__asm__(
	".section .note.Xen,\"a\",@note\n"
	"	.long 4, 4, 18\n"
	"	.asciz \"Xen\"\n"
	"	.long _start\n"
	".section .text.start,\"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"	mov $stack, %esp\n"
	"	push %ebx\n"
	"	call boot_main\n"
	"gate_error:\n"
	"	add $4, %esp\n"
	"gate:\n"
	"	movl $0, 0xfee000b0\n"      /* EOI */
	/* back without IRET, which an interpreting KVM lacks; interrupts stay off */
	"	popl came_from\n"
	"	add $8, %esp\n"
	"	jmp *came_from\n"
	".section .bss\n"
	".balign 4096\n"
	"	.space 8192\n"
	"stack:\n"
	"came_from: .space 4\n"
	".text\n"
);
