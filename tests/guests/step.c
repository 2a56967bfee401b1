/* The one-step guest: a bare-metal RV64 S-mode program that checks itself and can be checked from outside.
 *
 * Each hart owns a slice of the pages and increments byte 0 of each in order, for ever. So at any instant the values of a
 * slice are all equal but for one step at the hart's position: anything else is a lost or a stale page. Before it
 * increments, the hart checks that the page holds what its round says and the pattern that was written at start;
 * if not, it prints BAD and powers off. The idea is QEMU's migration test's a-b boot block.
 *
 * bootargs: pages=N (default 4096)  pace=US between steps (default 0)  tick=N prints "tick K" each N steps of hart 0
 *           harts=N starts that many (default: all that answer)        still=1: pages are filled, nothing is stepped
 * keys on the UART: q power off, r reboot, c check all slices of hart 0 now, p print the status line
 *
 * Memory: this program at RAM base + 2 MiB, the status page at + 6 MiB, the pages at + 8 MiB. */
#include <stdint.h>

#define RAM     0x80000000ul
#define STATUS  (RAM + 0x600000)
#define PAGES   (RAM + 0x800000)
#define UART    0x10000000ul
#define PAGE    4096ul
#define HARTS   8
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
static volatile uint32_t uart_lock;

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

static void put(char c)
{
	volatile uint8_t *u = (volatile uint8_t *)UART;

	while (!(u[5] & 0x20))
		;
	u[0] = (uint8_t)c;
}

/* Harts print whole lines. */
static void say(const char *a, uint64_t n, const char *b, uint64_t m)
{
	char digits[24];

	while (__sync_lock_test_and_set(&uart_lock, 1))
		;
	for (int round = 0; round < 2; round++) {
		const char *s = round ? b : a;
		uint64_t    v = round ? m : n;
		int         k = 0;

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
	volatile uint8_t *u = (volatile uint8_t *)UART;

	if (!(u[5] & 1))
		return;
	switch (u[0]) {
	case 'q': say("bye ", S->hart[0].steps, 0, 0); power(0); break;
	case 'r': power(1); break;
	case 'c': check(0); break;
	case 'p': say("status steps ", S->hart[0].steps, " nonce ", S->nonce); break;
	}
}

static void wait_us(uint64_t us)
{
	uint64_t until = now() + us * 10;      /* 10 MHz */

	if (us >= 200) {
		__asm__ volatile("csrw 0x14d, %0" :: "r"(until));       /* stimecmp */
		__asm__ volatile("csrs sie, %0" :: "r"(1ul << 5));
	}
	while (now() < until)
		if (us >= 200)
			__asm__ volatile("wfi");
}

static void step_for_ever(uint64_t h)
{
	uint64_t first = S->hart[h].first, count = S->hart[h].count, steps = 0;

	for (;;) {
		for (uint64_t i = 0; i < count; i++) {
			volatile uint8_t *p = page_at(first + i);

			if (p[0] != (uint8_t)(steps / count))
				bad(first + i, p[0]);
			if (*(volatile uint64_t *)(p + 8) != ((first + i) ^ PATTERN))
				bad(first + i, 999);
			p[0] = (uint8_t)(p[0] + 1);
			S->hart[h].steps = ++steps;
			if (h == 0 && tick_every && steps % tick_every == 0)
				say("tick ", steps / tick_every, 0, 0);
			if (pace_us)
				wait_us(pace_us);
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

/* The value of name= in the bootargs of the DTB; it is enough here to look for the text in the blob. */
static uint64_t option(const uint8_t *dtb, const char *name, uint64_t fallback)
{
	uint32_t len = (uint32_t)dtb[4] << 24 | (uint32_t)dtb[5] << 16 | (uint32_t)dtb[6] << 8 | dtb[7];

	for (uint32_t i = 0; i + 32 < len; i++) {
		uint32_t n = 0;

		while (name[n] && dtb[i + n] == (uint8_t)name[n])
			n++;
		if (name[n])
			continue;
		uint64_t v = 0;

		for (i += n; dtb[i] >= '0' && dtb[i] <= '9'; i++)
			v = v * 10 + (dtb[i] - '0');
		return v;
	}
	return fallback;
}

extern void hart_entry(void);

void boot_main(uint64_t h, const uint8_t *dtb);
void boot_main(uint64_t h, const uint8_t *dtb)
{
	uint64_t npages = option(dtb, "pages=", 4096), want = option(dtb, "harts=", HARTS), still = option(dtb, "still=", 0);
	uint64_t nharts = 0;

	pace_us    = option(dtb, "pace=", 0);
	tick_every = option(dtb, "tick=", 0);
	for (uint64_t i = 0; i < HARTS && i < want; i++)
		if (sbi(0x48534d, 2, i, 0, 0) >= 0)     /* HSM status: the hart exists */
			nharts = i + 1;
	S->npages = npages;
	S->nharts = nharts;
	S->nonce  = now() ^ (uint64_t)dtb << 20;
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
			sbi(0x48534d, 0, i, (unsigned long)hart_entry, i);
	S->hart[h].started = 1;
	while (still)
		keys();
	step_for_ever(h);
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
