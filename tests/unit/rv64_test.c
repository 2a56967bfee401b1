/* SPDX-License-Identifier: MIT */
/* One hart in this thread: traps, Sv39, atomics, code that changes, counters, interrupts, marks. */
#include "tests/unit/rv64_harness.h"

#include "vmrun/memory_file.h"

#include <stdio.h>
#include <string.h>

#define PROGRAM (RIG_RAM + 0x1000)
#define TRAP    (RIG_RAM + 0x3000)      /* stvec: wfi */
#define DATA    (RIG_RAM + 0x8000)
#define ROOT    (RIG_RAM + 0x10000)     /* page tables */
#define MID     (RIG_RAM + 0x11000)
#define LEAF    (RIG_RAM + 0x12000)
#define VA      0x40000000u             /* LEAF maps [VA, VA + 2 MiB) */
#define BYTES   (4u << 20)

enum { V = 1, R = 2, W = 4, X_ = 8, U = 16, A_ = 64, D_ = 128 };

static struct rig g;

#define S (g.h->s)
#define START(...) do { RIG_CODE(&g, PROGRAM, __VA_ARGS__); start(PROGRAM); } while (0)

static void start(uint64_t pc)
{
	bare_start(&g, pc);
	rv64_code_drop(g.h);      /* tests write programs over programs */
	S.stvec = TRAP;
	S.x[GP] = DATA;
	S.x[TP] = VA;
}

static uint64_t pte(uint64_t gpa, uint64_t bits) { return gpa >> 12 << 10 | bits; }
static void map(uint64_t va, uint64_t gpa, uint64_t bits)
{
	rig_put(&g, LEAF + (va >> 12 & 511) * 8, pte(gpa, bits));
}

static uint64_t mapped(uint64_t va) { return rig_get(&g, LEAF + (va >> 12 & 511) * 8); }

/* VA's GiB by tables, RAM as a superpage where it is. */
static void tables(void)
{
	memset(rig_host(&g, ROOT), 0, 0x3000);
	rig_put(&g, ROOT + 1 * 8, pte(MID, V));
	rig_put(&g, MID, pte(LEAF, V));
	rig_put(&g, ROOT + 2 * 8, pte(0x80000000, V | R | W | X_ | A_ | D_));
	S.satp = (uint64_t)8 << 60 | ROOT >> 12;
}

static bool trapped(uint64_t cause, uint64_t epc, uint64_t tval)
{
	bool good = S.pc == TRAP + 4 && S.scause == cause && S.sepc == epc && S.stval == tval;

	if (!good)
		note("pc %llx cause %llx epc %llx tval %llx", (unsigned long long)S.pc,
		     (unsigned long long)S.scause,
		     (unsigned long long)S.sepc, (unsigned long long)S.stval);
	return good;
}

static bool finished(unsigned instructions)
{
	return S.pc == PROGRAM + 4 * instructions && S.scause == 0;
}

static bool marked(uint64_t gpa)
{
	uint64_t page = (gpa - RIG_RAM) >> 12;

	return g.vm.memory.regions[0].dirty[page / 64] >> (page % 64) & 1;
}

static void sync_dirty_log(void)
{
	for (size_t i = 0; i < bitmap_words(g.vm.memory.regions[0].npages); i++)
		atomic_exchange(&g.vm.memory.regions[0].dirty[i], 0);
	rv64_tlb_drop_writes(g.h);
}

static void test_traps(void)
{
	START(NOP, 0xffffffff, WFI);
	bare_run(&g);
	ok(trapped(2, PROGRAM + 4, 0xffffffff),
	   "an illegal instruction traps at its address, its bits in stval");

	START(EBREAK);
	bare_run(&g);
	ok(trapped(3, PROGRAM, PROGRAM), "ebreak traps with cause 3");

	START(ECALL);
	S.priv = HART_U;
	bare_run(&g);
	ok(trapped(8, PROGRAM, 0) && S.priv == HART_S && !(S.sstatus & SSTATUS_SPP),
	   "ecall from U traps to S with cause 8");

	START(CSRRS(A0, C_SSTATUS, 0));
	S.priv = HART_U;
	bare_run(&g);
	ok(trapped(2, PROGRAM, CSRRS(A0, C_SSTATUS, 0)), "an S register is not to be had in U");

	START(CSRRW(0, C_CYCLE, A0));
	bare_run(&g);
	ok(trapped(2, PROGRAM, CSRRW(0, C_CYCLE, A0)), "a counter is read-only");

	START(CSRRS(A0, C_TIME, 0));
	S.priv = HART_U;
	S.scounteren = 0;      /* 7 after reset, as firmware leaves it */
	bare_run(&g);
	ok(trapped(2, PROGRAM, CSRRS(A0, C_TIME, 0)), "time in U needs scounteren");

	START(0x00053553u /* fadd.s fa0, fa0, f0 with rm 3 */, WFI);
	bare_run(&g);
	ok(trapped(2, PROGRAM, 0x00053553u), "floating point with FS off is illegal");

	START(CSRRS(A1, C_SSTATUS, 0), 0x02f57553u /* fadd.d fa0, fa0, fa5, dyn */,
	      CSRRS(A0, C_SSTATUS, 0), WFI);
	S.sstatus = (uint64_t)1 << 13;
	bare_run(&g);
	ok(finished(4) && !(S.x[A1] >> 63) && S.x[A0] >> 63 && (S.x[A0] >> 13 & 3) == 3,
	   "floating point makes FS dirty and sets SD");

	START(LD(A0, 0, A1));
	S.x[A1] = 0x1000;
	bare_run(&g);
	ok(trapped(5, PROGRAM, 0x1000), "a load from nothing is an access fault");

	START(SD(A0, 0, A1));
	S.x[A1] = RIG_RAM + BYTES;
	bare_run(&g);
	ok(trapped(7, PROGRAM, RIG_RAM + BYTES), "a store past the end of RAM is an access fault");

	START(JALR(0, A1, 0));
	S.x[A1] = 0x2000;
	bare_run(&g);
	ok(trapped(1, 0x2000, 0x2000), "a jump to nothing is a fetch access fault, at its target");

	START(LW(A0, 8, A1), SW(A0, 12, A1), WFI);
	S.x[A1] = RIG_MMIO;
	bare_run(&g);
	ok(finished(3) && S.x[A0] == 8 && g.mmio_at == 12 && g.mmio_value == 8 && g.mmio_size == 4,
	   "what is not memory goes to the board");

	START(CSRRW(0, C_SATP, A1), CSRRS(A0, C_SATP, 0), WFI);
	S.x[A1] = (uint64_t)9 << 60 | 5;
	bare_run(&g);
	ok(finished(3) && S.x[A0] == 0, "satp ignores modes other than Sv39");
}

/* Guest memory is lost (vmrun/memory.h): nothing of the guest is seen outside any more. */
static void test_lost(void)
{
	static struct memory_file file = { .fd = -1 };

	START(LW(A0, 8, A1), SW(A0, 16, A1), WFI);
	S.x[A1]                 = RIG_MMIO;
	g.mmio_at               = 0;
	g.vm.memory.file        = &file;
	bare_run(&g);
	ok(finished(3) && S.x[A0] == 8 && g.mmio_at == 16, "memory that is a file is like any");

	memory_lose(&g.vm.memory);
	START(SW(A0, 20, A1), WFI);
	S.x[A1] = RIG_MMIO;
	bare_run(&g);
	ok(g.h->stuck && g.mmio_at == 16, "lost: a store reaches no device, and the hart stops");
	g.h->stuck = false;
	START(LW(A0, 8, A1), WFI);
	S.x[A0] = 77;
	S.x[A1] = RIG_MMIO;
	bare_run(&g);
	ok(g.h->stuck && S.x[A0] != 8, "neither does a load");
	g.h->stuck = false;
	atomic_store(&g.events, 0);
	START(ECALL, WFI);
	S.x[A7] = 0x53525354;      /* system reset */
	bare_run(&g);
	ok(g.h->stuck && atomic_load(&g.events) == 0, "nor an SBI call the VM");
	g.h->stuck       = false;
	g.vm.memory.file = NULL;
	atomic_store(&g.vm.memory.lost, false);
}

static void test_sv39(void)
{
	start(PROGRAM);
	tables();
	map(VA, DATA, V | R | W | U);
	sync_dirty_log();
	RIG_CODE(&g, PROGRAM, LD(A0, 0, TP), WFI);
	rig_put(&g, DATA, 0x1234);
	sync_dirty_log();
	S.sstatus = SSTATUS_SUM;
	bare_run(&g);
	ok(finished(2) && S.x[A0] == 0x1234 && (mapped(VA) & (A_ | D_)) == A_,
	   "a load sets A and not D");
	ok(marked(LEAF) && !marked(DATA),
	   "the page table that got A is marked written, the page that was read is not");

	sync_dirty_log();
	START(SD(A0, 8, TP), SD(A0, 16, TP), WFI);
	tables();
	map(VA, DATA, V | R | W | U);
	sync_dirty_log();
	S.sstatus = SSTATUS_SUM;
	bare_run(&g);
	ok(finished(3) && (mapped(VA) & (A_ | D_)) == (A_ | D_) && marked(DATA) && marked(LEAF),
	   "a store sets A and D and marks both pages");

	START(LD(A0, 0, TP));
	tables();
	map(VA, DATA, V | R | W | U);
	bare_run(&g);
	ok(trapped(13, PROGRAM, VA), "S does not read a user's page without SUM");

	START(CSRRS(0, C_SSTATUS, A1), LD(A0, 0, TP), CSRRC(0, C_SSTATUS, A1),
	      CSRRS(0, C_SSTATUS, A1), LD(A0, 0, TP), WFI);
	tables();
	map(VA, DATA, V | R | W | U | A_);
	S.x[A1] = SSTATUS_SUM;
	uint64_t walks = g.h->n_walks;
	bare_run(&g);
	ok(finished(6) && g.h->n_walks - walks == 2,
	   "toggling SUM flushes nothing: one walk for the code, one for the data");

	START(LD(A0, 0, TP));
	tables();
	map(VA, DATA, V | R | W);
	map(VA + 0x1000, PROGRAM, V | R | X_ | U | A_);
	S.pc   = VA + 0x1000;
	S.priv = HART_U;
	bare_run(&g);
	ok(trapped(13, VA + 0x1000, VA), "U does not read S's page");

	START(NOP);
	tables();
	map(VA, PROGRAM, V | R | W | X_ | U);
	S.pc = VA;
	bare_run(&g);
	ok(trapped(12, VA, VA), "S does not execute a user's page, SUM or not");

	START(SD(A0, 0, TP));
	tables();
	map(VA, DATA, V | R);
	bare_run(&g);
	ok(trapped(15, PROGRAM, VA) && !(mapped(VA) & A_),
	   "a store to a read-only page faults and sets no bit");

	START(LD(A0, 0, TP));
	tables();
	map(VA, DATA, V | X_);
	bare_run(&g);
	bool faulted = trapped(13, PROGRAM, VA);
	START(LD(A0, 0, TP), WFI);
	tables();
	map(VA, DATA, V | X_);
	S.sstatus = SSTATUS_MXR;
	bare_run(&g);
	ok(faulted && finished(2), "an executable page is readable with MXR only");

	START(LD(A0, 0, TP));
	tables();
	map(VA, DATA, V | W);
	bare_run(&g);
	faulted = trapped(13, PROGRAM, VA);
	START(LD(A0, 0, TP));
	tables();
	map(VA, DATA, V | R | (uint64_t)1 << 61);
	bare_run(&g);
	ok(faulted && trapped(13, PROGRAM, VA), "W without R and reserved bits fault");

	START(LD(A0, 0, TP));
	tables();
	rig_put(&g, MID, pte(DATA, V | R | W));
	bare_run(&g);
	ok(trapped(13, PROGRAM, VA), "a superpage that is not aligned faults");

	START(LD(A0, 0, A1));
	tables();
	S.x[A1] = (uint64_t)1 << 39;
	bare_run(&g);
	ok(trapped(13, PROGRAM, (uint64_t)1 << 39), "an address that is not canonical faults");

	START(LD(A0, 0, TP), SD(A1, 0, A2), SFENCE(TP), LD(A3, 0, TP), WFI);
	tables();
	map(VA, DATA, V | R);
	rig_put(&g, DATA, 1);
	rig_put(&g, DATA + 4096, 2);
	S.x[A1] = pte(DATA + 4096, V | R);
	S.x[A2] = LEAF;
	bare_run(&g);
	ok(finished(5) && S.x[A0] == 1 && S.x[A3] == 2,
	   "sfence.vma with an address: the new entry counts");

	START(LD(A0, 0, TP), LD(A0, 0, A4), SD(A1, 0, A2), SFENCE(TP), LD(A3, 0, A4), WFI);
	tables();
	rig_put(&g, MID, pte(RIG_RAM, V | R));
	rig_put(&g, MID + 8, pte(RIG_RAM + 0x200000, V | R));
	S.x[TP] = VA;
	S.x[A4] = VA + 0x8000;
	S.x[A1] = pte(RIG_RAM + 0x200000, V | R);
	S.x[A2] = MID;
	rig_put(&g, DATA, 5);
	rig_put(&g, DATA + 0x200000, 6);
	bare_run(&g);
	ok(finished(6) && S.x[A0] == 5 && S.x[A3] == 6,
	   "sfence.vma with one address of a superpage drops all of it");
}

static void test_misaligned(void)
{
	static const uint64_t v = 0x1122334455667788;
	uint8_t *p = rig_host(&g, DATA);

	START(SD(A0, 3, GP), LD(A1, 3, GP), SD(A0, 2047, A2), LD(A3, 2047, A2), WFI);
	S.x[A0] = v;
	S.x[A2] = DATA + 4096 - 2047 - 5;
	bare_run(&g);
	ok(finished(5) && S.x[A1] == v && S.x[A3] == v && !memcmp(p + 3, &v, 8) &&
	   !memcmp(p + 4096 - 5, &v, 8),
	   "misaligned accesses work, within a page and across two");

	START(SD(A0, 0, A2));
	tables();
	map(VA, DATA, V | R | W);
	map(VA + 0x1000, DATA + 0x1000, V | R);
	memset(p, 0, 8192);
	S.x[A0] = v;
	S.x[A2] = VA + 4096 - 4;
	bare_run(&g);
	ok(trapped(15, PROGRAM, VA + 4096) && p[4092] == 0,
	   "a store across two pages that may not write the second writes nothing");

	START(AMOADD_D(A0, A0, A2));
	S.x[A2] = DATA + 4;
	bare_run(&g);
	bool amo = trapped(6, PROGRAM, DATA + 4);
	START(LR_D(A0, A2));
	S.x[A2] = DATA + 4;
	bare_run(&g);
	ok(amo && trapped(4, PROGRAM, DATA + 4), "misaligned atomics trap");

	START(LR_D(A0, GP), SC_D(A1, A2, GP), SC_D(A3, A2, GP), LR_D(A0, GP), SD(A4, 0, GP),
	      SC_D(A5, A2, GP), WFI);
	rig_put(&g, DATA, 9);
	S.x[A2] = 10;
	S.x[A4] = 11;
	bare_run(&g);
	ok(finished(7) && S.x[A1] == 0 && S.x[A3] == 1 && S.x[A5] == 1 && rig_get(&g, DATA) == 11,
	   "SC stores after LR, not without it, not over a change");
}

static void test_code(void)
{
	/* the function at A2 is called, rewritten, fenced, called again */
	const uint64_t fn = PROGRAM + 0x400;

	RIG_CODE(&g, fn, ADDI(A0, 0, 1), JALR(0, RA, 0));
	START(JALR(RA, A2, 0), ADDI(S2, A0, 0), SW(A3, 0, A2), FENCE_I, JALR(RA, A2, 0), WFI);
	S.x[A2] = fn;
	S.x[A3] = ADDI(A0, 0, 2);
	bare_run(&g);
	ok(finished(6) && S.x[S2] == 1 && S.x[A0] == 2,
	   "a hart that rewrites code sees it after fence.i");

	uint32_t two = ADDI(A0, 0, 3);
	guest_copy_in(&g.vm.memory, fn, &two, 4);
	S.pc = PROGRAM + 12;
	bare_run(&g);
	ok(S.x[A0] == 3, "code that a device has written is seen after fence.i");

	/* li across a page end: 4 bytes at ...ffe */
	uint64_t at = PROGRAM + 0x1000 - 2;
	uint32_t raw = ADDI(A0, 0, 77), wfi = WFI;
	start(at);
	guest_copy_in(&g.vm.memory, at, &raw, 4);
	guest_copy_in(&g.vm.memory, at + 4, &wfi, 4);
	bare_run(&g);
	ok(S.x[A0] == 77 && S.pc == at + 8 && S.instret == 2,
	   "an instruction across two pages executes");

	start(VA + 0xffe);
	tables();
	map(VA, PROGRAM, V | R | X_);
	bare_run(&g);
	bool fetch = trapped(12, VA + 0xffe, VA + 0x1000) && S.instret == 1;
	start(VA + 0xffe);
	tables();
	map(VA, PROGRAM, V | R | X_);
	map(VA + 0x1000, PROGRAM + 0x1000, V | R | X_);
	bare_run(&g);
	ok(fetch && S.x[A0] == 77 && S.pc == VA + 0x1006,
	   "and faults on its second page alone, with that address in stval");

	START(ADDI(A0, 0, 3), ADDI(A0, A0, -1), BNE(A0, 0, -4), CSRRS(A1, C_INSTRET, 0),
	      CSRRS(A2, C_CYCLE, 0), LD(A3, 0, 0), WFI);
	bare_run(&g);
	ok(trapped(5, PROGRAM + 20, 0) && S.x[A1] == 7 && S.x[A2] == 8 && S.instret == 10,
	   "instret counts exactly, traps included");
}

static void test_expand(void)
{
	unsigned legal = 0, broken = 0;

	for (unsigned half = 0; half < 0x10000; half++) {
		uint32_t       raw = (half & 3) == 3 ? 0 : rv64_expand((uint16_t)half);
		struct rv64_op op;

		if (!raw)
			continue;
		rv64_decode(&op, raw, 2, 0);
		legal++;
		broken += op_code(&op) == OP_illegal || op_len(&op) != 2;
	}
	note("%u of 49152 are legal", legal);
	ok(legal > 40000 && !broken,
	   "every compressed instruction is reserved or stands for a legal one");
}

static void test_interrupts(void)
{
	/* the handlers turn sie off: a wfi would not wait */
	RIG_CODE(&g, TRAP + 0x100, CSRRW(0, C_SIE, 0), WFI);
	START(CSRRSI(0, C_SSTATUS, 2), NOP, WFI);
	S.sie   = 0x222;
	S.ssip  = true;
	S.stvec = TRAP + 0x100;
	bare_run(&g);
	ok(S.pc == TRAP + 0x108 && S.scause == ((uint64_t)1 << 63 | 1) && S.sepc == PROGRAM + 4 &&
	   S.sstatus & SSTATUS_SPIE, "an interrupt is taken as soon as SIE is set");

	START(NOP, WFI);
	S.sie     = 0x222;
	S.ssip    = true;
	S.sstatus = SSTATUS_SIE;
	S.stimecmp = 0;
	atomic_store(&g.h->ext, true);
	S.stvec   = TRAP | 1;
	RIG_CODE(&g, TRAP + 36, CSRRW(0, C_SIE, 0), WFI);
	bare_run(&g);
	atomic_store(&g.h->ext, false);
	ok(S.scause == ((uint64_t)1 << 63 | 9) && S.pc == TRAP + 44,
	   "external before software before timer, vectored by stvec");

	START(CSRRW(0, C_STIMECMP, 0), CSRRS(A0, C_SIP, 0), CSRRW(0, C_STIMECMP, A1),
	      CSRRS(A2, C_SIP, 0), WFI);
	S.x[A1] = UINT64_MAX;
	bare_run(&g);
	ok(finished(5) && S.x[A0] == 0x20 && S.x[A2] == 0, "stimecmp raises and takes away STIP");

	START(WFI, ADDI(A0, 0, 1), CSRRW(0, C_SIE, 0), WFI);
	S.sie  = 2;
	S.ssip = true;
	bare_run(&g);
	ok(finished(4) && S.x[A0] == 1, "wfi with something pending continues, SIE or not");

	START(SRET);
	S.sepc    = PROGRAM + 0x100;
	S.sstatus = SSTATUS_SPIE;
	RIG_CODE(&g, PROGRAM + 0x100, ECALL);
	bare_run(&g);
	ok(S.scause == 8 && S.sepc == PROGRAM + 0x100 && S.sstatus & SSTATUS_SPIE,
	   "sret goes to U with interrupts as SPIE says");
}

static void sbi(uint64_t ext, uint64_t fn, uint64_t a0, uint64_t a1, uint64_t a2)
{
	START(ECALL, WFI);
	S.x[A7] = ext;
	S.x[A6] = fn;
	S.x[A0] = a0;
	S.x[A1] = a1;
	S.x[A2] = a2;
	bare_run(&g);
}

static void test_sbi(void)
{
	sbi(0x10, 0, 0, 0, 0);
	bool good = S.x[A0] == 0 && S.x[A1] == 2u << 24;
	sbi(0x10, 3, 0x4442434e, 0, 0);
	good &= S.x[A1] == 1;
	sbi(0x10, 3, 0x504d55, 0, 0);
	good &= S.x[A1] == 0;
	sbi(0x999, 0, 0, 0, 0);
	ok(good && S.x[A0] == (uint64_t)-2, "SBI: version 2.0, what is there and what is not");

	sbi(0x48534d, 2, 0, 0, 0);
	good = S.x[A0] == 0 && S.x[A1] == 0;
	sbi(0x48534d, 2, 1, 0, 0);
	good &= S.x[A0] == (uint64_t)-3;
	sbi(0x735049, 0, 1, 0, 0);
	good &= S.x[A0] == 0 && S.ssip;
	sbi(0x735049, 0, 2, 0, 0);
	good &= S.x[A0] == (uint64_t)-3;
	sbi(0x735049, 0, 1, UINT64_MAX, 0);
	good &= S.x[A0] == 0 && S.ssip;
	sbi(0x735049, 0, 1, 64, 0);
	ok(good && S.x[A0] == (uint64_t)-3,
	   "SBI: hart states and IPIs, masks out of range refused");

	memcpy(rig_host(&g, DATA), "hello", 5);
	sbi(0x4442434e, 0, 5, DATA, 0);
	good = S.x[A0] == 0 && S.x[A1] == 5;
	sbi(0x4442434e, 0, UINT64_MAX, DATA, 0);
	good &= S.x[A0] == (uint64_t)-3;
	sbi(0x4442434e, 0, 5, RIG_RAM + BYTES - 2, 0);
	good &= S.x[A0] == (uint64_t)-3;
	sync_dirty_log();
	sbi(0x4442434e, 1, 5, DATA + 0x5000, 0);
	ok(good && S.x[A1] == 1 && marked(DATA + 0x5000),
	   "SBI: debug console, bounded, what it reads marked");

	g.events = 0;
	sbi(0x53525354, 0, 0, 0, 0);
	ok(g.events == 1u << VM_EVENT_SHUTDOWN && S.pc == PROGRAM,
	   "SBI: a shutdown is requested, and the hart stays at the ecall");
}

/* Stores to random addresses, dirty log syncs in between: exactly the pages that changed are
 * marked, each time. */
static void test_marks(void)
{
	static uint8_t before[BYTES];
	uint8_t       *ram = rig_host(&g, RIG_RAM);
	uint64_t       seed = 88172645463325252u;
	bool           good = true;

	/* loop: a0 = address, a1 = value, from a list at s0 of s1 entries */
	RIG_CODE(&g, PROGRAM, LD(A0, 0, S0), LD(A1, 8, S0), SD(A1, 0, A0), ADDI(S0, S0, 16),
		 ADDI(S1, S1, -1), BNE(S1, 0, -20), WFI);
	start(PROGRAM);
	for (unsigned round = 0; round < 200 && good; round++) {
		for (unsigned i = 0; i < 64; i++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			rig_put(&g, DATA + 16 * i,
				RIG_RAM + 0x20000 + seed % (BYTES - 0x20000 - 8));
			rig_put(&g, DATA + 16 * i + 8, seed | 0x0101010101010101);
		}
		sync_dirty_log();
		memcpy(before, ram, BYTES);
		S.pc    = PROGRAM;
		S.x[S0] = DATA;
		S.x[S1] = 64;
		bare_run(&g);
		for (unsigned page = 0; page < BYTES / 4096; page++)
			if (memcmp(before + page * 4096, ram + page * 4096, 4096) &&
			    !marked(RIG_RAM + page * 4096))
				good = false;
		unsigned extra = 0;
		for (unsigned page = 0; page < BYTES / 4096; page++)
			extra += !memcmp(before + page * 4096, ram + page * 4096, 4096) &&
				 marked(RIG_RAM + page * 4096);
		good &= extra <= 2;      /* stores of what was there already */
	}
	ok(good, "after each sync exactly the pages that were stored to are marked again");
}

static void test_tlb_sizes(void)
{
	/* more pages than the TLB has entries and its lists can record, then a flush, then other
	 * mappings */
	uint64_t *table = rig_host(&g, LEAF);
	bool      good;

	START(SD(A0, 0, A1), LD(A3, 0, A1), ADD(S2, S2, A3), ADD(A1, A1, A2), ADDI(A0, A0, 1),
	      BNE(A0, S1, -20), WFI);
	tables();
	for (unsigned i = 0; i < 512; i++)
		table[i] = pte(RIG_RAM + 0x200000 + (uint64_t)(i % 256) * 4096, V | R | W);
	S.x[A1] = VA;
	S.x[A2] = 4096;
	S.x[S1] = 512;
	bare_run(&g);
	good = S.x[S2] == 511 * 512 / 2 && rig_get(&g, RIG_RAM + 0x200000 + 5 * 4096) == 256 + 5;
	rv64_tlb_flush(g.h);
	for (unsigned i = 0; i < 512; i++)
		table[i] = pte(RIG_RAM + 0x300000 + (uint64_t)(i % 256) * 4096, V | R | W);
	S.pc    = PROGRAM;
	S.x[A1] = VA;
	S.x[A0] = S.x[S2] = 0;
	bare_run(&g);
	ok(good && S.x[S2] == 511 * 512 / 2 &&
	   rig_get(&g, RIG_RAM + 0x300000 + 5 * 4096) == 256 + 5 &&
	   rig_get(&g, RIG_RAM + 0x200000 + 5 * 4096) == 256 + 5,
	   "a flush of many entries leaves none");
}

int main(void)
{
	rig_open(&g, RIG_RAM, BYTES, 1);
	RIG_CODE(&g, TRAP, WFI, WFI);
	bare_open(&g);
	test_traps();
	test_lost();
	test_sv39();
	test_misaligned();
	test_code();
	test_expand();
	test_interrupts();
	test_sbi();
	test_marks();
	test_tlb_sizes();
	bare_close(&g);
	rig_close(&g);
	return done_testing();
}
