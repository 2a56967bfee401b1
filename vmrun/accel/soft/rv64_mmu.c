/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include <string.h>

/* Sv39, RISC-V Privileged 1.12, 4.3 to 4.4. */
#define PTE_V ((uint64_t)1 << 0)
#define PTE_R ((uint64_t)1 << 1)
#define PTE_W ((uint64_t)1 << 2)
#define PTE_X ((uint64_t)1 << 3)
#define PTE_U ((uint64_t)1 << 4)
#define PTE_A ((uint64_t)1 << 6)
#define PTE_D ((uint64_t)1 << 7)
#define PTE_PPN(pte) ((pte) >> 10 & (((uint64_t)1 << 44) - 1))
#define PTE_RESERVED ((uint64_t)0x3ff << 54)     /* neither Svnapot nor Svpbmt */

bool rv64_fault(struct hart *h, unsigned cause, uint64_t va)
{
	h->cause = cause;
	h->tval  = va;
	return false;
}

static bool mmu_page_fault(struct hart *h, uint64_t va, enum rv64_access access)
{
	static const uint8_t causes[] = {
		[ACCESS_READ]  = CAUSE_LOAD_PAGE,
		[ACCESS_WRITE] = CAUSE_STORE_PAGE,
		[ACCESS_FETCH] = CAUSE_FETCH_PAGE,
	};

	return rv64_fault(h, causes[access], va);
}

bool rv64_access_fault(struct hart *h, uint64_t va, enum rv64_access access)
{
	static const uint8_t causes[] = {
		[ACCESS_READ]  = CAUSE_LOAD_ACCESS,
		[ACCESS_WRITE] = CAUSE_STORE_ACCESS,
		[ACCESS_FETCH] = CAUSE_FETCH_ACCESS,
	};

	return rv64_fault(h, causes[access], va);
}

static struct region *mmu_region(const struct hart *h, uint64_t gpa, unsigned len)
{
	struct region *r = &h->vm->memory.regions[0];

	/* Main RAM, nearly always. */
	if (gpa - r->cfg.gpa < r->cfg.size && len <= r->cfg.size - (gpa - r->cfg.gpa))
		return r;
	return memory_region(&h->vm->memory, gpa, len);
}

static bool mmu_allowed(const struct hart *h, uint64_t pte, enum rv64_access access)
{
	if (h->s.priv == HART_U) {
		if (!(pte & PTE_U))
			return false;
	} else if (pte & PTE_U && (access == ACCESS_FETCH || !(h->s.sstatus & SSTATUS_SUM))) {
		return false;
	}
	switch (access) {
	case ACCESS_READ:  return pte & PTE_R || (pte & PTE_X && h->s.sstatus & SSTATUS_MXR);
	case ACCESS_WRITE: return pte & PTE_W;
	case ACCESS_FETCH: return pte & PTE_X;
	}
	return false;
}

static void mmu_page(const struct hart *h, struct rv64_page *p, uint64_t gpa)
{
	p->gpa  = gpa & ~(uint64_t)(GUEST_PAGE - 1);
	p->r    = mmu_region(h, p->gpa, GUEST_PAGE);
	p->page = p->r ? (p->gpa - p->r->cfg.gpa) >> GUEST_PAGE_SHIFT : 0;
}

/* Sets A, and D for a write, in the page table, atomically: other harts may be changing the entry.
 * It is a write to guest memory, and marked like any other. false: the entry has changed, walk
 * again. */
static bool mmu_set_ad(struct region *r, uint64_t at, uint64_t pte, uint64_t want)
{
	_Atomic uint64_t *p = (_Atomic uint64_t *)(void *)(r->host + at);

	if (r->cfg.kind == REGION_ROM)
		return true;
	if (!atomic_compare_exchange_strong(p, &pte, want))
		return false;
	region_mark(r, at >> GUEST_PAGE_SHIFT, 1);
	return true;
}

bool rv64_translate(struct hart *h, uint64_t va, enum rv64_access access, struct rv64_page *p)
{
	uint64_t table;

	p->super = false;
	if (!h->s.satp) {
		mmu_page(h, p, va);
		return true;
	}
	h->n_walks++;
	if ((uint64_t)((int64_t)(va << 25) >> 25) != va)
		return mmu_page_fault(h, va, access);
again:
	table = (h->s.satp & (((uint64_t)1 << 44) - 1)) << GUEST_PAGE_SHIFT;
	for (int level = 2; level >= 0; level--) {
		uint64_t       at = table + (va >> (12 + 9 * level) & 511) * 8;
		struct region *r = mmu_region(h, at, 8);
		uint64_t       pte, want, low = ((uint64_t)1 << (9 * level)) - 1;

		if (!r)
			return rv64_access_fault(h, va, access);
		at -= r->cfg.gpa;
		pte = atomic_load_explicit((_Atomic uint64_t *)(void *)(r->host + at),
					   memory_order_relaxed);
		if (!(pte & PTE_V) || pte & PTE_RESERVED || (pte & (PTE_R | PTE_W)) == PTE_W)
			return mmu_page_fault(h, va, access);
		if (!(pte & (PTE_R | PTE_W | PTE_X))) {
			if (pte & (PTE_U | PTE_A | PTE_D))
				return mmu_page_fault(h, va, access);
			table = PTE_PPN(pte) << GUEST_PAGE_SHIFT;
			continue;
		}
		if (!mmu_allowed(h, pte, access) || PTE_PPN(pte) & low)
			return mmu_page_fault(h, va, access);
		want = pte | PTE_A | (access == ACCESS_WRITE ? PTE_D : 0);
		if (want != pte && !mmu_set_ad(r, at, pte, want))
			goto again;
		p->super = level > 0;
		mmu_page(h, p, (PTE_PPN(pte) | (va >> GUEST_PAGE_SHIFT & low)) << GUEST_PAGE_SHIFT);
		return true;
	}
	return mmu_page_fault(h, va, access);
}

/* ---- the data TLB ---- */

static void tlb_flush(struct tlb *t)
{
	if (t->nfills > TLB_FILLS) {
		for (unsigned i = 0; i < TLB_SIZE; i++)
			t->e[i].read = t->e[i].write = TLB_NONE;
	} else {
		for (unsigned i = 0; i < t->nfills; i++)
			t->e[t->fills[i]].read = t->e[t->fills[i]].write = TLB_NONE;
	}
	t->nfills = 0;
}

void rv64_tlb_flush(struct hart *h)
{
	for (unsigned i = 0; i < TLBS; i++)
		tlb_flush(&h->tlbs[i]);
	h->nwrites = 0;
	memset(h->super, 0, sizeof(h->super));
	rv64_ftlb_flush(h);
}

void rv64_tlb_flush_page(struct hart *h, uint64_t va)
{
	const unsigned gib = (unsigned)(va >> 30) & 511;
	const uint64_t tag = va & ~(uint64_t)(GUEST_PAGE - 1);

	/* The page may be in a superpage, which can have many entries here. */
	if (h->super[gib / 64] >> (gib % 64) & 1) {
		rv64_tlb_flush(h);
		return;
	}
	for (unsigned i = 0; i < TLBS; i++) {
		struct tlb_entry *e = &h->tlbs[i].e[tlb_index(va)];

		if (e->read == tag || e->write == tag)
			e->read = e->write = TLB_NONE;
	}
	rv64_ftlb_flush_page(h, va);
}

void rv64_tlb_mode(struct hart *h)
{
	unsigned data = h->s.sstatus & SSTATUS_SUM ? TLB_SUM : TLB_S;

	h->tlb  = &h->tlbs[h->s.priv == HART_U ? TLB_U : data];
	h->ftlb = &h->ftlbs[h->s.priv];
}

/* Calls fn for every entry with a write tag; fn true: the tag is dropped. */
static void tlb_each_write(struct hart *h,
			   bool (*fn)(struct hart *h, const struct tlb_entry *e, const void *arg),
			   const void *arg)
{
	uint32_t kept = 0;

	if (h->nwrites > TLB_FILLS) {
		for (unsigned i = 0; i < TLBS * TLB_SIZE; i++) {
			struct tlb_entry *e = &h->tlbs[i >> TLB_BITS].e[i & (TLB_SIZE - 1)];

			if (e->write != TLB_NONE && fn(h, e, arg))
				e->write = TLB_NONE;
			if (e->write != TLB_NONE && kept++ < TLB_FILLS)
				h->writes[kept - 1] = (uint16_t)i;
		}
		h->nwrites = kept;
		return;
	}
	for (uint32_t i = 0; i < h->nwrites; i++) {
		unsigned          at = h->writes[i];
		struct tlb_entry *e = &h->tlbs[at >> TLB_BITS].e[at & (TLB_SIZE - 1)];

		if (e->write != TLB_NONE && fn(h, e, arg))
			e->write = TLB_NONE;
		if (e->write != TLB_NONE)
			h->writes[kept++] = h->writes[i];
	}
	h->nwrites = kept;
}

static bool drop_any(struct hart *h, const struct tlb_entry *e, const void *arg)
{
	(void)h, (void)e, (void)arg;
	return true;
}

void rv64_tlb_drop_writes(struct hart *h)
{
	tlb_each_write(h, drop_any, NULL);
}

/* Another hart has decoded the page while this one had the tag: its copy may be stale. */
static bool drop_code(struct hart *h, const struct tlb_entry *e, const void *arg)
{
	struct region *r = &h->vm->memory.regions[e->page >> 48];
	uint64_t       page = e->page & (((uint64_t)1 << 48) - 1);

	(void)arg;
	if (!(atomic_load_explicit(&r->code[page / 64], memory_order_acquire) >> (page % 64) & 1))
		return false;
	atomic_fetch_add_explicit(&r->code_gen[page], 1, memory_order_acq_rel);
	return true;
}

void rv64_tlb_drop_code(struct hart *h)
{
	tlb_each_write(h, drop_code, NULL);
}

static bool drop_page(struct hart *h, const struct tlb_entry *e, const void *arg)
{
	(void)h;
	return e->page == *(const uint64_t *)arg;
}

void rv64_tlb_drop_page(struct hart *h, const struct region *r, uint64_t page)
{
	uint64_t key = page | (uint64_t)(r - h->vm->memory.regions) << 48;

	tlb_each_write(h, drop_page, &key);
}

/* Before the first store through a new write tag. The mark comes before the store, which is right
 * only because no safe point is between them: a dirty log sync that takes the mark waits for this
 * hart's next safe point before the page is read. */
static void mmu_will_write(struct region *r, uint64_t page)
{
	uint64_t bit = (uint64_t)1 << (page % 64);

	/* Reading without a lock is enough: a hart that decodes after this asks for the tag
	 * (REQ_CODE). The bit is cleared before code_gen is counted up: see rv64_code.c. */
	if (atomic_load_explicit(&r->code[page / 64], memory_order_acquire) & bit &&
	    atomic_fetch_and_explicit(&r->code[page / 64], ~bit, memory_order_acq_rel) & bit)
		atomic_fetch_add_explicit(&r->code_gen[page], 1, memory_order_acq_rel);
	bitmap_mark(r->dirty, page);
}

static void tlb_fill(struct hart *h, uint64_t va, const struct rv64_page *p, bool write)
{
	struct tlb       *t = h->tlb;
	unsigned          i = tlb_index(va);
	struct tlb_entry *e = &t->e[i];
	uint64_t          tag = va & ~(uint64_t)(GUEST_PAGE - 1);

	if (p->super)
		h->super[va >> 36 & 7] |= (uint64_t)1 << (va >> 30 & 63);
	if (e->read != tag)
		e->write = TLB_NONE;
	e->read   = tag;
	e->addend = (uintptr_t)p->r->host + (p->page << GUEST_PAGE_SHIFT) - tag;
	e->page   = p->page | (uint64_t)(p->r - h->vm->memory.regions) << 48;
	if (t->nfills < TLB_FILLS)
		t->fills[t->nfills] = (uint16_t)i;
	t->nfills += t->nfills <= TLB_FILLS;
	if (!write)
		return;
	mmu_will_write(p->r, p->page);
	e->write = tag;
	if (h->nwrites < TLB_FILLS)
		h->writes[h->nwrites] = (uint16_t)((unsigned)(t - h->tlbs) << TLB_BITS | i);
	h->nwrites += h->nwrites <= TLB_FILLS;
}

bool rv64_host(struct hart *h, uint64_t va, enum rv64_access access, uint8_t **host, uint64_t *gpa)
{
	const struct tlb_entry *e = &h->tlb->e[tlb_index(va)];
	uint64_t                tag = va & ~(uint64_t)(GUEST_PAGE - 1);
	struct rv64_page        p;

	if ((access == ACCESS_WRITE ? e->write : e->read) != tag) {
		if (!rv64_translate(h, va, access, &p))
			return false;
		*gpa = p.gpa | (va & (GUEST_PAGE - 1));
		if (!p.r) {
			*host = NULL;
			return true;
		}
		if (access == ACCESS_WRITE && p.r->cfg.kind == REGION_ROM)
			return rv64_access_fault(h, va, access);
		tlb_fill(h, va, &p, access == ACCESS_WRITE);
	} else {
		*gpa = h->vm->memory.regions[e->page >> 48].cfg.gpa +
		       ((e->page << 16 >> 4) | (va & (GUEST_PAGE - 1)));
	}
	*host = (uint8_t *)(e->addend + va);
	return true;
}
