/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"
#include "vmrun/accel/soft/rv64_fp.h"

/* The executor: threaded dispatch over decoded ops (rv64_ops.h).
 *
 * op is the only program counter: op - ops[0] of its page is the offset in halfwords, so that
 * pc = pcbase + (op >> 3), and pcbase changes only when the page does. icount runs ahead: entering
 * a block adds its length, a trap subtracts what was not executed. Both live in registers; s.pc
 * and s.instret are written where other code may read them.
 *
 * The instruction bodies are in rv64_exec_i.inc, included once for 4 byte and once for 2 byte
 * instructions, and rv64_exec_sys.inc and rv64_exec_fp.inc, included once.
 *
 * The macros here and in those three files use the variables of rv64_run (h, op, x, pc, pcbase,
 * icount, labels) and jump to its labels. That is deliberate, and for these files alone: the
 * bodies are one function, so that the variables stay in registers and each body can end in its
 * own dispatch; a function per body could do neither, and as arguments the same seven names
 * would be in every line. */

/* Each body ends in its own indirect jump, so that the host's branch predictor can tell them apart:
 * the compiler must not merge them. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-gcse", "no-crossjumping")
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define GLUE_(a, b, c) a##b##_##c
#define GLUE(a, b, c)  GLUE_(a, b, c)

#define DISPATCH()   goto *labels[op->code]
#define PC()         (pcbase + ((uintptr_t)op >> 3))
#define X(n)         x[n]
#define IMM          ((uint64_t)op->imm)

/* Enters the block that begins at op. */
#define BLOCK()      do { icount += op->n; DISPATCH(); } while (0)

static inline uint64_t run_mulhsu(uint64_t a, uint64_t b)
{
	return (uint64_t)((__int128)(int64_t)a * (__int128)(unsigned __int128)b >> 64);
}

/* Division never traps: division by zero and overflow have defined results (Unprivileged 20191213,
 * table 7.1). */
static inline uint64_t run_div(int64_t a, int64_t b)
{
	return b == 0 ? UINT64_MAX : a == INT64_MIN && b == -1 ? (uint64_t)a : (uint64_t)(a / b);
}

static inline uint64_t run_rem(int64_t a, int64_t b)
{
	return b == 0 ? (uint64_t)a : b == -1 ? 0 : (uint64_t)(a % b);
}

static inline uint64_t run_divw(int32_t a, int32_t b)
{
	if (b == 0)
		return UINT64_MAX;
	return (uint64_t)(int64_t)(a == INT32_MIN && b == -1 ? a : a / b);
}

static inline uint64_t run_remw(int32_t a, int32_t b)
{
	return b == 0 ? (uint64_t)(int64_t)a : b == -1 ? 0 : (uint64_t)(int64_t)(a % b);
}

static inline uint64_t sext32(uint64_t v) { return (uint64_t)(int64_t)(int32_t)v; }

void rv64_run(struct hart *h)
{
	static const void *const labels[OP_COUNT * 2] = {
#define LABEL_TWO(name) [OP_##name * 2] = &&L4_##name, [OP_##name * 2 + 1] = &&L2_##name,
#define LABEL_ONE(name) [OP_##name * 2] = &&L0_##name, [OP_##name * 2 + 1] = &&L0_##name,
#define ROW(name, lens) LABEL_##lens(name)
#define ROW5(name, format, match, mask, lens) LABEL_##lens(name)
		RV64_PSEUDO(ROW)
		RV64_INSNS(ROW5)
	};
	uint64_t *const       x = h->x;
	const struct rv64_op *op;
	uint64_t              pcbase, pc, icount;

	rv64_fp_enter(h);
resume:     /* at s.pc */
	pc     = h->s.pc;
	icount = h->s.instret;
jump:       /* to pc; a safe point */
	if (unlikely(icount >= atomic_load_explicit(&h->limit, memory_order_relaxed)))
		goto event;
	{
		const struct ftlb_entry *e = &h->ftlb->e[ftlb_index(pc)];

		if (likely(e->tag == (pc & ~(uint64_t)(GUEST_PAGE - 1)))) {
			h->cp = e->cp;
		} else {
			struct codepage *cp = rv64_fetch(h, pc);

			if (unlikely(!cp))
				goto trap_at_pc;
			h->cp = cp;
		}
		op     = &h->cp->ops[(pc & (GUEST_PAGE - 1)) / 2];
		pcbase = pc - ((uintptr_t)op >> 3);
		BLOCK();
	}

safe_point: /* a jump within the page has reached op, which is not yet counted */
	if (likely(icount < atomic_load_explicit(&h->limit, memory_order_relaxed)))
		BLOCK();
	pc = PC();
event:
	h->s.pc      = pc;
	h->s.instret = icount;
	if (soft_event(h))
		goto resume;
	rv64_fp_leave(h);
	return;

illegal:    /* op is not valid, or not in this mode */
	h->cause = CAUSE_ILLEGAL;
	h->tval  = op_code(op) == OP_illegal ? IMM : rv64_raw(h, PC(), op_len(op));
trap:       /* cause and tval are set; op and what follows it in its block were not executed */
	pc      = PC();
	icount -= op->n;
trap_at_pc:
	h->s.pc      = pc;
	h->s.instret = icount;
	rv64_trap(h);
	goto resume;

#define LEN 4
#define L(name) GLUE(L, LEN, name)
#define NEXT()       do { op += LEN / 2; DISPATCH(); } while (0)
#define NEXT_BLOCK() do { op += LEN / 2; BLOCK(); } while (0)
#include "vmrun/accel/soft/rv64_exec_i.inc"
#undef LEN
#define LEN 2
#include "vmrun/accel/soft/rv64_exec_i.inc"
#undef LEN
#undef NEXT
#undef NEXT_BLOCK

#define LEN 0
#define NEXT()       do { op += op_len(op) / 2; DISPATCH(); } while (0)
#define NEXT_BLOCK() do { op += op_len(op) / 2; BLOCK(); } while (0)
#include "vmrun/accel/soft/rv64_exec_sys.inc"
#include "vmrun/accel/soft/rv64_exec_fp.inc"
}
