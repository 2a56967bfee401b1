/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"
#include "vmrun/accel/soft/rv64_fp.h"

#include <stddef.h>
#include <string.h>

/* RISC-V Privileged 1.12, 2.2; Sstc 1.0 for stimecmp. */
enum csr {
	CSR_FFLAGS = 0x001, CSR_FRM = 0x002, CSR_FCSR = 0x003,
	CSR_SSTATUS = 0x100, CSR_SIE = 0x104, CSR_STVEC = 0x105, CSR_SCOUNTEREN = 0x106,
	CSR_SENVCFG = 0x10a,
	CSR_SSCRATCH = 0x140, CSR_SEPC = 0x141, CSR_SCAUSE = 0x142, CSR_STVAL = 0x143,
	CSR_SIP = 0x144, CSR_STIMECMP = 0x14d,
	CSR_SATP = 0x180,
	CSR_CYCLE = 0xc00, CSR_TIME = 0xc01, CSR_INSTRET = 0xc02,
};

#define SSTATUS_UXL_64 ((uint64_t)2 << 32)
#define SSTATUS_SD     ((uint64_t)1 << 63)
#define SATP_SV39      ((uint64_t)8 << 60)
#define SATP_PPN       (((uint64_t)1 << 44) - 1)
#define SENVCFG_FIOM   1u

uint64_t rv64_time(const struct hart *h)
{
	return soft_ticks(h->soft, clock_now_ns(&h->vm->clock));
}

void rv64_timer_look(struct hart *h)
{
	h->timer = h->s.stimecmp != UINT64_MAX && rv64_time(h) >= h->s.stimecmp;
}

uint64_t rv64_sip(const struct hart *h)
{
	/* SSIP is set by other harts, SEIP by any thread. */
	const uint64_t ssip = __atomic_load_n(&h->s.ssip, __ATOMIC_ACQUIRE);
	const uint64_t seip = atomic_load_explicit(&h->ext, memory_order_acquire);

	return ssip << IRQ_SSI | (uint64_t)h->timer << IRQ_STI | seip << IRQ_SEI;
}

/* Interrupts that would be taken now. */
static uint64_t irq_ready(const struct hart *h)
{
	if (h->s.priv == HART_S && !(h->s.sstatus & SSTATUS_SIE))
		return 0;
	return rv64_sip(h) & h->s.sie;
}

/* After what may have enabled an interrupt: it is taken at the next safe point. */
static void irq_check(struct hart *h)
{
	if (irq_ready(h))
		atomic_store_explicit(&h->limit, 0, memory_order_relaxed);
}

static void trap_enter(struct hart *h, uint64_t cause, uint64_t tval, uint64_t pc)
{
	struct hart_state *s = &h->s;

	s->scause   = cause;
	s->stval    = tval;
	s->sepc     = s->pc;
	s->sstatus &= ~(SSTATUS_SPIE | SSTATUS_SPP);
	s->sstatus |= s->sstatus & SSTATUS_SIE ? SSTATUS_SPIE : 0;
	s->sstatus |= s->priv == HART_S ? SSTATUS_SPP : 0;
	s->sstatus &= ~SSTATUS_SIE;
	s->priv     = HART_S;
	s->pc       = pc;
	rv64_tlb_mode(h);
}

void rv64_trap(struct hart *h)
{
	h->n_traps++;
	trap_enter(h, h->cause, h->tval, h->s.stvec & ~(uint64_t)3);
}

bool rv64_irq_take(struct hart *h)
{
	uint64_t ready = irq_ready(h);
	unsigned irq = ready >> IRQ_SEI & 1 ? IRQ_SEI : ready >> IRQ_SSI & 1 ? IRQ_SSI : IRQ_STI;

	if (!ready)
		return false;
	h->n_irqs++;
	trap_enter(h, (uint64_t)1 << 63 | irq, 0,
		   (h->s.stvec & ~(uint64_t)3) + (h->s.stvec & 1 ? 4 * irq : 0));
	return true;
}

static enum rv64_after csr_illegal(struct hart *h, uint64_t raw)
{
	h->cause = CAUSE_ILLEGAL;
	h->tval  = raw;
	return AFTER_TRAP;
}

enum rv64_after rv64_sret(struct hart *h)
{
	struct hart_state *s = &h->s;

	if (s->priv != HART_S)
		return csr_illegal(h, 0x10200073);
	s->pc      = s->sepc;
	s->priv    = s->sstatus & SSTATUS_SPP ? HART_S : HART_U;
	s->sstatus = (s->sstatus & ~(SSTATUS_SIE | SSTATUS_SPP)) |
		     (s->sstatus & SSTATUS_SPIE ? SSTATUS_SIE : 0) | SSTATUS_SPIE;
	rv64_tlb_mode(h);
	irq_check(h);
	return AFTER_ENTER;
}

/* ---- CSRs ---- */

static bool fp_off(const struct hart *h) { return !(h->s.sstatus & SSTATUS_FS); }

static bool counter_off(const struct hart *h, unsigned csr)
{
	return h->s.priv == HART_U && !(h->s.scounteren >> (csr - CSR_CYCLE) & 1);
}

/* false: no such CSR, or not accessible now. */
static bool csr_read(struct hart *h, unsigned csr, uint64_t *v)
{
	struct hart_state *s = &h->s;

	switch (csr) {
	case CSR_FFLAGS: rv64_fp_sync_flags(h); *v = s->fflags; return !fp_off(h);
	case CSR_FRM:    *v = s->frm; return !fp_off(h);
	case CSR_FCSR:
		rv64_fp_sync_flags(h);
		*v = (unsigned)s->frm << 5 | s->fflags;
		return !fp_off(h);
	case CSR_SSTATUS:
		*v = s->sstatus | SSTATUS_UXL_64 |
		     ((s->sstatus & SSTATUS_FS) == SSTATUS_FS ? SSTATUS_SD : 0);
		return true;
	case CSR_SIE:        *v = s->sie; return true;
	case CSR_STVEC:      *v = s->stvec; return true;
	case CSR_SCOUNTEREN: *v = s->scounteren; return true;
	case CSR_SENVCFG:    *v = s->senvcfg; return true;
	case CSR_SSCRATCH:   *v = s->sscratch; return true;
	case CSR_SEPC:       *v = s->sepc; return true;
	case CSR_SCAUSE:     *v = s->scause; return true;
	case CSR_STVAL:      *v = s->stval; return true;
	case CSR_SIP:        rv64_timer_look(h); *v = rv64_sip(h); return true;
	case CSR_STIMECMP:   *v = s->stimecmp; return true;
	case CSR_SATP:       *v = s->satp; return true;
	case CSR_CYCLE:
	case CSR_INSTRET:
		*v = s->instret - 1;      /* without this instruction, which has been counted */
		return !counter_off(h, csr);
	case CSR_TIME:       *v = rv64_time(h); return !counter_off(h, csr);
	}
	return false;
}

static enum rv64_after csr_write_sstatus(struct hart *h, uint64_t v)
{
	uint64_t changed = (h->s.sstatus ^ v) & SSTATUS_KEPT;

	h->s.sstatus ^= changed;
	if (changed & SSTATUS_MXR)
		rv64_tlb_flush(h);
	if (changed & SSTATUS_SUM)
		rv64_tlb_mode(h);
	irq_check(h);
	return changed & SSTATUS_SIE ? AFTER_ENTER : AFTER_NEXT;
}

static enum rv64_after csr_write_satp(struct hart *h, uint64_t v)
{
	const uint64_t mode = v >> 60;

	/* No effect, as Privileged 1.12, 4.1.11 requires: software tries modes and reads back. */
	if (mode != 0 && mode != 8)
		return AFTER_NEXT;
	h->s.satp = mode ? SATP_SV39 | (v & SATP_PPN) : 0;
	rv64_tlb_flush(h);
	return AFTER_ENTER;
}

static void csr_write_fp(struct hart *h, bool flags, bool mode, uint64_t fflags, uint64_t frm)
{
	rv64_fp_sync_flags(h);
	if (flags)
		h->s.fflags = fflags & 31;
	if (mode)
		h->s.frm = frm & 7;
	h->s.sstatus |= SSTATUS_FS;
}

static enum rv64_after csr_write(struct hart *h, unsigned csr, uint64_t v)
{
	struct hart_state *s = &h->s;

	switch (csr) {
	case CSR_FFLAGS:     csr_write_fp(h, true, false, v, 0); return AFTER_NEXT;
	case CSR_FRM:        csr_write_fp(h, false, true, 0, v); return AFTER_NEXT;
	case CSR_FCSR:       csr_write_fp(h, true, true, v, v >> 5); return AFTER_NEXT;
	case CSR_SSTATUS:    return csr_write_sstatus(h, v);
	case CSR_STVEC:      s->stvec = v & ~(uint64_t)2; return AFTER_NEXT;
	case CSR_SCOUNTEREN: s->scounteren = v & 7; return AFTER_NEXT;
	case CSR_SENVCFG:    s->senvcfg = v & SENVCFG_FIOM; return AFTER_NEXT;
	case CSR_SSCRATCH:   s->sscratch = v; return AFTER_NEXT;
	case CSR_SEPC:       s->sepc = v & ~(uint64_t)1; return AFTER_NEXT;
	case CSR_SCAUSE:     s->scause = v; return AFTER_NEXT;
	case CSR_STVAL:      s->stval = v; return AFTER_NEXT;
	case CSR_SATP:       return csr_write_satp(h, v);
	case CSR_SIE:
		s->sie = v & HART_IRQS;
		soft_timer_arm(h);
		break;
	case CSR_SIP:
		__atomic_store_n(&s->ssip, v >> IRQ_SSI & 1, __ATOMIC_RELEASE);
		break;
	case CSR_STIMECMP:
		s->stimecmp = v;
		soft_timer_arm(h);
		break;
	default:
		return AFTER_TRAP;
	}
	irq_check(h);
	return AFTER_ENTER;
}

enum rv64_after rv64_csr(struct hart *h, const struct rv64_op *op)
{
	const enum rv64_opcode code = op_code(op);
	const unsigned csr = (unsigned)op->imm & 0xfff;
	const uint64_t raw = (uint64_t)op->imm >> 32;
	const bool immediate = code == OP_csrrwi || code == OP_csrrsi || code == OP_csrrci;
	const bool swap = code == OP_csrrw || code == OP_csrrwi;
	const bool write = swap || op->rs1 != 0;
	const uint64_t src = immediate ? op->rs1 : h->x[op->rs1];
	enum rv64_after after = AFTER_NEXT;
	uint64_t old, now;

	if ((csr >> 8 & 3) > h->s.priv || (write && csr >> 10 == 3))
		return csr_illegal(h, raw);
	if (!csr_read(h, csr, &old))
		return csr_illegal(h, raw);
	if (write) {
		now   = swap ? src : code == OP_csrrs || code == OP_csrrsi ? old | src : old & ~src;
		/* A set or clear of other bits must not write SSIP back: another hart may have set
		 * it in between. */
		if (csr != CSR_SIP || swap || src >> IRQ_SSI & 1)
			after = csr_write(h, csr, now);
	}
	h->x[op->rd] = old;
	return after;
}

void rv64_reset(struct hart *h, bool run, uint64_t pc, uint64_t arg)
{
	const size_t ssip = offsetof(struct hart_state, ssip), after = ssip + sizeof(h->s.ssip);

	/* All but ssip, which other harts may be setting now: an IPI to a hart that is about to
	 * start must not be lost, so that it is not even written with its own value. */
	memset(&h->s, 0, ssip);
	memset((uint8_t *)&h->s + after, 0, sizeof(h->s) - after);
	h->s.pc       = pc;
	h->s.priv     = HART_S;
	h->s.x[10]    = h->id;
	h->s.x[11]    = arg;
	h->s.stimecmp = UINT64_MAX;
	h->s.hsm      = run ? HSM_STARTED : HSM_STOPPED;
	/* As firmware sets it: user mode may read cycle, time and instret, which Linux relies on
	 * for its vDSO. */
	h->s.scounteren = 7;
	h->timer      = false;
	h->stuck      = false;
}
