/* SPDX-License-Identifier: MIT */
/* The backend with its threads: harts beside each other, pause, dirty log, code and mappings that
 * change under others. */
#include "tests/unit/rv64_harness.h"

#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROGRAM (RIG_RAM + 0x1000)      /* hart 0 */
#define SECOND  (RIG_RAM + 0x2000)      /* the others, started by hart 0: a0 id, a1 DATA */
#define DATA    (RIG_RAM + 0x8000)
#define BYTES   (4u << 20)

static struct rig    g;
static struct accel *a;

static void sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void begin(uint32_t ncpus)
{
	struct fail why;

	rig_open(&g, RIG_RAM, BYTES, ncpus);
	if (accel_soft_ops.open(&a, &g.vm, &why))
		abort();
}

static void go(void)
{
	struct fail why;

	accel_soft_ops.reset(a,
			     &(struct boot_entry){ .how = BOOT_RISCV, .pc = PROGRAM, .arg = DATA },
			     &why);
	accel_soft_ops.resume(a);
}

static void end(void)
{
	accel_soft_ops.close(a);
	rig_close(&g);
}

static bool pause_all(void)
{
	struct fail why;

	return accel_soft_ops.pause(a, &why) == 0;
}

/* Until the 64 bits at gpa are no more than other, at most 20 s. */
static bool wait_not(uint64_t gpa, uint64_t other)
{
	_Atomic uint64_t *p = rig_host(&g, gpa);
	uint64_t          until = io_now_ns() + 20000000000u;

	while (atomic_load(p) == other && io_now_ns() < until)
		sleep_ms(1);
	return atomic_load(p) != other;
}

static struct hart_state *state_of(uint32_t cpu)
{
	struct state_section section;

	return accel_soft_ops.sections(a, cpu, &section, 1) == 1 ? section.s : NULL;
}

/* Starts harts 1 to n - 1 at SECOND with a1 = DATA, then falls through; 9 words. s1 is kept as
 * DATA. */
#define START_OTHERS(n) \
	ADDI(S1, A1, 0), ADDI(S0, 0, 1), \
	ADDI(A0, S0, 0), LD(A1, 0, S1), ADDI(A2, S1, 0), LD(A7, 8, S1), ADDI(A6, 0, 0), ECALL, \
	ADDI(S0, S0, 1), ADDI(T0, 0, n), BNE(S0, T0, -32)

static void start_words(void)
{
	rig_put(&g, DATA, SECOND);
	rig_put(&g, DATA + 8, 0x48534d);
}

#define ROUNDS 300000u

static void test_atomics(void)
{
	/* each hart: ROUNDS times amoadd and lr/sc on one word, then counts itself done at +40 */
#define WORK(base) \
	LD(S2, 16, base), ADDI(S3, base, 24), ADDI(S4, base, 32), ADDI(S5, 0, 1), \
	ADDI(S7, base, 40), \
	AMOADD_D(0, S5, S3), \
	LR_D(T1, S4), ADDI(T1, T1, 1), SC_D(T2, T1, S4), BNE(T2, 0, -12), \
	ADDI(S2, S2, -1), BNE(S2, 0, -24), AMOADD_D(0, S5, S7), WFI

	begin(4);
	start_words();
	rig_put(&g, DATA + 16, ROUNDS);
	RIG_CODE(&g, PROGRAM, START_OTHERS(4), WORK(S1));
	RIG_CODE(&g, SECOND, WORK(A1));
	go();
	uint64_t until = io_now_ns() + 60000000000u;
	while (rig_get(&g, DATA + 40) != 4 && io_now_ns() < until)
		sleep_ms(5);
	ok(rig_get(&g, DATA + 24) == 4 * ROUNDS, "amoadd from four harts loses none");
	ok(rig_get(&g, DATA + 32) == 4 * ROUNDS, "LR and SC from four harts lose none");
	ok(pause_all() && state_of(3)->hsm == HSM_STARTED,
	   "harts started by HSM are paused with the rest");
	end();
}

#define PAGES 256u

static void copy_page(uint8_t *copy, const uint8_t *ram, uint64_t page)
{
	uint64_t       *to = (uint64_t *)(void *)(copy + page * 4096);
	const uint64_t *from = (const uint64_t *)(const void *)(ram + page * 4096);

	for (unsigned i = 0; i < 512; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

/* Two harts count one word a page, page after page, each its own half of a page; the pages of
 * each dirty log sync are copied after it. In the end the copy is the memory. */
static void test_sync_dirty_log(void)
{
	static uint8_t copy[BYTES] __attribute__((aligned(8)));
	static uint64_t taken[BYTES / 4096 / 64];
	uint64_t      *const takes[] = { taken };
	struct region *r = &g.vm.memory.regions[0];
	struct fail    why;
	unsigned       syncs = 0;
	uint64_t       pages = 0;
	unsigned       early = 0;
	struct soft   *m;

	/* s8 first, s9 step, t3 end */
#define TOUCH(base, off) \
	LD(S8, 48, base), LD(S9, 56, base), LD(T3, 64, base), ADDI(T4, S8, 0), \
	LD(T1, off, T4), ADDI(T1, T1, 1), SD(T1, off, T4), ADD(T4, T4, S9), BNE(T4, T3, -16), \
	JAL(0, -24)

	begin(2);
	m = (struct soft *)a;
	start_words();
	rig_put(&g, DATA + 48, RIG_RAM + 0x100000);
	rig_put(&g, DATA + 56, 4096);
	rig_put(&g, DATA + 64, RIG_RAM + 0x100000 + PAGES * 4096);
	RIG_CODE(&g, PROGRAM, START_OTHERS(2), TOUCH(S1, 0));
	RIG_CODE(&g, SECOND, TOUCH(A1, 512));
	memcpy(copy, r->host, BYTES);
	go();
	accel_soft_ops.throttle(a, 20);      /* other requests come in between */

	for (uint64_t until = io_now_ns() + 2000000000u; io_now_ns() < until; syncs++) {
		memset(taken, 0, sizeof(taken));
		bitmap_take(taken, r->dirty, r->npages);
		accel_soft_ops.sync_dirty_log(a, takes, &why);
		/* ack first: what is taken in between is no fault. */
		for (uint32_t i = 0; i < 2; i++) {
			const struct hart *h = m->harts[i];

			early += atomic_load(&h->ack) >= atomic_load(&m->seq) &&
				 atomic_load(&h->req) & REQ_WDROP;
		}
		for (uint64_t p = 0; p < r->npages; p++)
			if (bitmap_test(taken, p)) {
				copy_page(copy, r->host, p);
				pages++;
			}
	}
	bool paused = pause_all();
	memset(taken, 0, sizeof(taken));
	bitmap_take(taken, r->dirty, r->npages);
	accel_soft_ops.sync_dirty_log(a, takes, &why);
	for (uint64_t p = 0; p < r->npages; p++)
		if (bitmap_test(taken, p))
			copy_page(copy, r->host, p);
	note("%u syncs, %llu pages", syncs, (unsigned long long)pages);
	ok(paused && syncs > 20 && !memcmp(copy, r->host, BYTES),
	   "no page is lost to dirty log syncs while two harts write");
	ok(early == 0, "no hart acknowledges a sync and still has its write tags to drop");
	end();
}

static void test_stuck(void)
{
	uint64_t *none[1] = { NULL };
	uint64_t  until;
	struct fail why;

	begin(1);
	((struct soft *)a)->patience_ns = 100000000;
	g.mmio_stuck = true;
	RIG_CODE(&g, PROGRAM, LUI(T0, RIG_MMIO >> 12), SD(T0, 8, T0), SD(T0, 24, A1), JAL(0, 0));
	go();
	until = io_now_ns() + 20000000000u;
	while (g.mmio_at != 8 && io_now_ns() < until)
		sleep_ms(1);
	ok(accel_soft_ops.sync_dirty_log(a, none, &why) && strstr(why.what, "device access"),
	   "a dirty log sync does not wait for ever for a device that hangs");
	ok(accel_soft_ops.pause(a, &why) && strstr(why.what, "timed out waiting for it to stop"),
	   "nor does a pause");
	accel_soft_ops.resume(a);
	g.mmio_stuck = false;
	ok(wait_not(DATA + 24, 0) && accel_soft_ops.sync_dirty_log(a, none, &why) == 0 &&
	   pause_all(), "when it answers, all continue");
	end();
}

static void test_pause(void)
{
	begin(2);
	start_words();
	RIG_CODE(&g, PROGRAM, START_OTHERS(2), LD(T1, 24, S1), ADDI(T1, T1, 1), SD(T1, 24, S1),
		 JAL(0, -12));
	RIG_CODE(&g, SECOND, LD(T1, 32, A1), ADDI(T1, T1, 1), SD(T1, 32, A1), JAL(0, -12));
	go();
	bool     ran = wait_not(DATA + 24, 0) && wait_not(DATA + 32, 0), still = true, on = true;
	uint64_t worst = 0;

	for (unsigned i = 0; i < 50; i++) {
		uint64_t from = io_now_ns(), one, two;

		still &= pause_all();
		if (io_now_ns() - from > worst)
			worst = io_now_ns() - from;
		one = rig_get(&g, DATA + 24);
		two = rig_get(&g, DATA + 32);
		sleep_ms(2);
		still &= rig_get(&g, DATA + 24) == one && rig_get(&g, DATA + 32) == two;
		accel_soft_ops.resume(a);
		on &= wait_not(DATA + 24, one) && wait_not(DATA + 32, two);
	}
	note("longest pause took %llu us", (unsigned long long)worst / 1000);
	ok(ran && still, "after a pause nothing moves");
	ok(on, "after a resume everything does");

	/* state saved, the machine reset, state loaded: it continues to count */
	struct hart_state s0, s1;
	struct fail       why;
	pause_all();
	s0 = *state_of(0);
	s1 = *state_of(1);
	uint64_t at = rig_get(&g, DATA + 24);
	accel_soft_ops.reset(a, NULL, &why);
	*state_of(0) = s0;
	*state_of(1) = s1;
	accel_soft_ops.post_load(a, CLOCK_FREEZE, &why);
	accel_soft_ops.resume(a);
	ok(wait_not(DATA + 24, at) && wait_not(DATA + 32, rig_get(&g, DATA + 32)),
	   "state that was saved and loaded again runs on");

	accel_soft_ops.throttle(a, 90);
	sleep_ms(50);
	uint64_t from = rig_get(&g, DATA + 24), spent = cpu_ns();
	sleep_ms(300);
	spent = cpu_ns() - spent;
	note("throttled by 90 %%, two harts spend %llu of 600 ms",
	     (unsigned long long)spent / 1000000);
	ok(spent < 200000000u && rig_get(&g, DATA + 24) > from,
	   "a throttle of 90 % leaves little CPU time, and not none");
	accel_soft_ops.throttle(a, 0);
	end();
}

/* Hart 0 writes a new number into hart 1's function and signals it; hart 1 fences, calls it, and
 * reports what it returned. */
static void test_code(void)
{
	const uint64_t fn = RIG_RAM + 0x4000;      /* a page of its own */

	begin(2);
	start_words();
	rig_put(&g, DATA + 72, fn);
	rig_put(&g, DATA + 88, ADDI(A0, 0, 0));
	RIG_CODE(&g, fn, ADDI(A0, 0, 0), JALR(0, RA, 0));
	/* s2 round, s3 instruction; flag at +24, answer at +32; rounds done at +40, first wrong
	 * round at +80 */
	RIG_CODE(&g, PROGRAM, START_OTHERS(2),
		 LD(S3, 88, S1), LD(S4, 72, S1), ADDI(S2, 0, 0),
		 /* again: */
		 ADDI(S2, S2, 1), ADDI(T0, 0, 2047), rv_r(0x33, 7, 0, T0, S2, T0), SLLI(T0, T0, 20),
		 ADD(T0, T0, S3), SW(T0, 0, S4),
		 FENCE, SD(S2, 24, S1),
		 LD(T1, 32, S1), BNE(T1, S2, -4),
		 SD(S2, 40, S1), JAL(0, -44));
	RIG_CODE(&g, SECOND, ADDI(S1, A1, 0), LD(S4, 72, S1), ADDI(S2, 0, 0),
		 /* again: */
		 ADDI(S2, S2, 1),
		 LD(T1, 24, S1), BNE(T1, S2, -4),
		 FENCE_I, JALR(RA, S4, 0), ADDI(T0, 0, 2047), rv_r(0x33, 7, 0, T0, S2, T0),
		 BEQ(A0, T0, 8), SD(S2, 80, S1),
		 FENCE, SD(S2, 32, S1), JAL(0, -44));
	go();
	for (uint64_t until = io_now_ns() + 3000000000u;
	     io_now_ns() < until && rig_get(&g, DATA + 40) < 100000; )
		sleep_ms(5);
	pause_all();
	note("%llu rounds, first wrong %llu", (unsigned long long)rig_get(&g, DATA + 40),
	     (unsigned long long)rig_get(&g, DATA + 80));
	ok(rig_get(&g, DATA + 40) > 10 && rig_get(&g, DATA + 80) == 0,
	   "code that another hart has written is seen after fence.i");
	end();
}

/* Hart 0 points a page table entry from one page to the other, asks for a remote fence, then
 * writes a note into the page that is no longer mapped: hart 1 must never read the note through
 * the mapping once the fence is done. */
static void test_rfence(void)
{
	const uint64_t root = RIG_RAM + 0x10000;
	const uint64_t mid = root + 0x1000;
	const uint64_t leaf = root + 0x2000;
	const uint64_t one = RIG_RAM + 0x20000;
	const uint64_t two = one + 4096;

	begin(2);
	start_words();
	rig_put(&g, root + 8, mid >> 12 << 10 | 1);
	rig_put(&g, root + 16, 0x80000000u >> 12 << 10 | 0xcf);
	rig_put(&g, mid, leaf >> 12 << 10 | 1);
	rig_put(&g, leaf, one >> 12 << 10 | 0xc7);
	rig_put(&g, one, 1);
	rig_put(&g, two, 2);
	rig_put(&g, DATA + 96, (uint64_t)8 << 60 | root >> 12);
	rig_put(&g, DATA + 104, one >> 12 << 10 | 0xc7);
	rig_put(&g, DATA + 112, two >> 12 << 10 | 0xc7);
	rig_put(&g, DATA + 120, 0x52464e43);
	rig_put(&g, DATA + 128, leaf);
	/* Hart 0: entry = two, fence, t = +24 (what hart 1 reads) must become 2 by +48's
	 * sequence: it asks by +40, hart 1 answers at +48 with the sequence and at +56 with what
	 * it has read. */
	RIG_CODE(&g, PROGRAM, START_OTHERS(2),
		 LD(S2, 128, S1), LD(S3, 104, S1), LD(S4, 112, S1), ADDI(S5, 0, 0), ADDI(S6, 0, 1),
		 ADDI(S7, 0, 2),
		 /* again: swap the entries and what is expected */
		 SD(S4, 0, S2), ADDI(A0, 0, 2), ADDI(A1, 0, 0), ADDI(A2, 0, 0), ADDI(A3, 0, -1),
		 LD(A7, 120, S1), ADDI(A6, 0, 1), ECALL,
		 ADDI(S5, S5, 1), SD(S5, 40, S1),
		 LD(T0, 48, S1), BNE(T0, S5, -4), LD(T0, 56, S1), BEQ(T0, S7, 8), SD(S5, 64, S1),
		 ADDI(T0, S3, 0), ADDI(S3, S4, 0), ADDI(S4, T0, 0), ADDI(T0, S6, 0),
		 ADDI(S6, S7, 0), ADDI(S7, T0, 0),
		 SD(S5, 72, S1), JAL(0, -88));
	RIG_CODE(&g, SECOND, ADDI(S1, A1, 0), LD(T0, 96, S1), CSRRW(0, C_SATP, T0),
		 LUI(S2, 0x40000), ADDI(S5, 0, 0),
		 /* again: */
		 LD(T1, 0, S2), LD(T0, 40, S1), BEQ(T0, S5, -8), ADDI(S5, T0, 0), LD(T1, 0, S2),
		 SD(T1, 56, S1), FENCE, SD(S5, 48, S1), JAL(0, -32));
	go();
	for (uint64_t until = io_now_ns() + 3000000000u;
	     io_now_ns() < until && rig_get(&g, DATA + 72) < 50000; )
		sleep_ms(5);
	pause_all();
	note("%llu remote fences", (unsigned long long)rig_get(&g, DATA + 72));
	ok(rig_get(&g, DATA + 72) > 10 && rig_get(&g, DATA + 64) == 0,
	   "after a remote sfence.vma the old mapping is gone");
	end();
}

static void test_idle(void)
{
	uint64_t spent, from;

	/* wakes each 10 ms by stimecmp, counts, sleeps; sie = STIE, SIE off */
	begin(2);
	start_words();
	rig_put(&g, DATA + 16, 100000);
	RIG_CODE(&g, PROGRAM, START_OTHERS(2), ADDI(T0, 0, 0x20), CSRRW(0, C_SIE, T0),
		 LD(S2, 16, S1),
		 CSRRS(T0, C_TIME, 0), ADD(T0, T0, S2), CSRRW(0, C_STIMECMP, T0), WFI,
		 LD(T1, 24, S1), ADDI(T1, T1, 1), SD(T1, 24, S1), JAL(0, -28));
	RIG_CODE(&g, SECOND, WFI, JAL(0, -4));      /* sie is 0: for ever */
	go();
	wait_not(DATA + 24, 0);
	from = rig_get(&g, DATA + 24);
	spent = cpu_ns();
	sleep_ms(500);
	spent = cpu_ns() - spent;
	from  = rig_get(&g, DATA + 24) - from;
	note("%llu ticks, %llu us of CPU time", (unsigned long long)from,
	     (unsigned long long)spent / 1000);
	ok(from >= 10 && from <= 52, "wfi wakes when stimecmp falls due");
	ok(spent < 100000000u, "harts in wfi use no host CPU");

	pause_all();
	struct hart_state s = *state_of(1);
	ok(s.wfi && s.hsm == HSM_STARTED, "a hart paused in wfi has that in its state");
	from = rig_get(&g, DATA + 24);
	clock_stop(&g.vm.clock);
	sleep_ms(50);
	clock_start(&g.vm.clock);
	accel_soft_ops.resume(a);
	ok(rig_get(&g, DATA + 24) == from && wait_not(DATA + 24, from),
	   "while paused no timer fires; after the resume they do");
	end();

	/* a running hart gets its timer too: handler counts, arms again */
	begin(1);
	rig_put(&g, DATA + 16, 10000);
	RIG_CODE(&g, PROGRAM, LD(T0, 32, A1), CSRRW(0, C_STVEC, T0), ADDI(T0, 0, 0x20),
		 CSRRW(0, C_SIE, T0), LD(S2, 16, A1),
		 CSRRS(T0, C_TIME, 0), ADD(T0, T0, S2), CSRRW(0, C_STIMECMP, T0),
		 CSRRSI(0, C_SSTATUS, 2), JAL(0, 0));
	rig_put(&g, DATA + 32, SECOND);
	RIG_CODE(&g, SECOND, LD(T1, 24, A1), ADDI(T1, T1, 1), SD(T1, 24, A1), CSRRS(T0, C_TIME, 0),
		 ADD(T0, T0, S2),
		 CSRRW(0, C_STIMECMP, T0), SRET);
	go();
	wait_not(DATA + 24, 0);
	from = rig_get(&g, DATA + 24);
	sleep_ms(300);
	from = rig_get(&g, DATA + 24) - from;
	note("%llu interrupts in 300 ms", (unsigned long long)from);
	ok(from >= 20 && from <= 330, "a busy hart is interrupted when stimecmp falls due");
	pause_all();
	end();
}

static void test_ipi(void)
{
	/* each waits for its SSIP, clears it, counts, sends one to the other; hart 0 begins */
#define PING(base, word, other) \
	ADDI(T0, 0, 2), CSRRW(0, C_SIE, T0), LD(S3, 80, base), \
	/* again: */ \
	WFI, ADDI(T0, 0, 2), CSRRC(T1, C_SIP, T0), rv_r(0x33, 7, 0, T1, T1, T0), BEQ(T1, 0, -16), \
	LD(T1, word, base), ADDI(T1, T1, 1), SD(T1, word, base), \
	ADDI(A0, 0, 1), ADDI(A1, 0, other), ADDI(A6, 0, 0), ADDI(A7, S3, 0), ECALL, JAL(0, -52)

	begin(2);
	start_words();
	rig_put(&g, DATA + 80, 0x735049);
	RIG_CODE(&g, PROGRAM, START_OTHERS(2), CSRRSI(0, C_SIP, 2), PING(S1, 24, 1));
	RIG_CODE(&g, SECOND, ADDI(S1, A1, 0), PING(S1, 32, 0));
	go();
	bool going = wait_not(DATA + 24, 0) && wait_not(DATA + 32, 0);
	uint64_t from = rig_get(&g, DATA + 32);
	sleep_ms(300);
	uint64_t to = rig_get(&g, DATA + 32);
	note("%llu round trips in 300 ms", (unsigned long long)(to - from));
	ok(going && to > from + 20, "IPIs wake harts in wfi");
	pause_all();
	end();
}

static void test_events(void)
{
	begin(1);
	start_words();
	rig_put(&g, DATA + 16, 0x53525354);
	RIG_CODE(&g, PROGRAM, LD(A7, 16, A1), ADDI(A6, 0, 0), ADDI(A0, 0, 1), ADDI(A1, 0, 0), ECALL,
		 WFI);
	go();
	for (uint64_t until = io_now_ns() + 5000000000u;
	     !atomic_load(&g.events) && io_now_ns() < until; )
		sleep_ms(1);
	bool asked = atomic_exchange(&g.events, 0) == 1u << VM_EVENT_RESET, stays;
	stays = pause_all() && state_of(0)->pc == PROGRAM + 16;
	accel_soft_ops.resume(a);
	for (uint64_t until = io_now_ns() + 5000000000u;
	     !atomic_load(&g.events) && io_now_ns() < until; )
		sleep_ms(1);
	ok(asked && stays && atomic_load(&g.events) == 1u << VM_EVENT_RESET,
	   "a hart that asked for a reset stays there, and asks again after a resume");
	pause_all();
	end();

	begin(1);
	rig_put(&g, DATA + 16, 0x48534d);
	RIG_CODE(&g, PROGRAM, LD(A7, 16, A1), ADDI(A6, 0, 1), ECALL, WFI);
	go();
	for (uint64_t until = io_now_ns() + 5000000000u;
	     !atomic_load(&g.events) && io_now_ns() < until; )
		sleep_ms(1);
	ok(atomic_load(&g.events) == 1u << VM_EVENT_DEAD,
	   "when the last hart stops itself the VM is dead");
	end();

	struct fail why;
	ok(accel_soft_ops.selftest(&why) == 0, "the self test passes");
}

int main(void)
{
	test_atomics();
	test_sync_dirty_log();
	test_stuck();
	test_pause();
	test_code();
	test_rfence();
	test_idle();
	test_ipi();
	test_events();
	return done_testing();
}
