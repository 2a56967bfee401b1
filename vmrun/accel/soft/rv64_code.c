/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Decoded pages. Each hart has its own; these rules keep them valid (vmrun/memory.h):
 *
 *   - A hart that begins to decode a page reads its code_gen, then sets its bit in region->code,
 *     then asks every other hart to drop the write tag it may have (REQ_CODE, soft->seq), and drops
 *     its own.
 *   - Whoever writes a page clears the bit, then counts code_gen up if the bit was set: a store
 *     needs a write tag, and the slow path that makes it does this; devices do it in region_mark.
 *   - A hart that still has a tag when it is asked counts code_gen up as it drops it.
 *
 * So a copy is stale only if its code_gen is not the page's. RISC-V guarantees a hart new code only
 * after fence.i, which flushes the fetch TLB and does nothing else; code_gen is compared when a
 * page is put into that again. A copy whose request has not been answered by every running hart is
 * not trusted after a fence.i either: a hart may be storing through a tag that nobody knows of.
 */

/* Decoded pages for each hart: 32 KiB each, which the host allocates as they are used. With one
 * hart 128 MiB at most, with eight 256 MiB together. */
enum { PAGES_ONE = 4096, PAGES_FEW = 2048, PAGES_MANY = 1024 };

static struct codepage *pages_map(size_t count)
{
	void *p = mmap(NULL, count * sizeof(struct codepage), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void page_sentinels(struct codepage *cp)
{
	cp->ops[PAGE_OPS].code = cp->ops[PAGE_OPS + 1].code = OP_page_end << 1;
}

int rv64_code_open(struct hart *h, struct fail *why)
{
	uint32_t hash;

	h->npages   = PAGES_MANY;
	if (h->soft->nharts <= 4)
		h->npages = h->soft->nharts == 1 ? PAGES_ONE : PAGES_FEW;
	hash        = h->npages * 2;
	h->pages    = pages_map(h->npages);
	h->straddle = pages_map(1);
	h->hash     = calloc(hash, sizeof(*h->hash));
	if (!h->pages || !h->straddle || !h->hash) {
		errno = ENOMEM;
		return fail_sys(why, "hart %u: decoded code", h->id);
	}
	/* Only for speed: a failure does not matter. */
	madvise(h->pages, h->npages * sizeof(*h->pages), MADV_HUGEPAGE);
	h->hash_mask = hash - 1;
	page_sentinels(h->straddle);
	for (unsigned i = 0; i < FTLB_SIZE; i++)
		h->ftlbs[0].e[i].tag = h->ftlbs[1].e[i].tag = TLB_NONE;
	for (unsigned i = 0; i < TLBS * TLB_SIZE; i++) {
		struct tlb_entry *e = &h->tlbs[i >> TLB_BITS].e[i & (TLB_SIZE - 1)];

		e->read = e->write = TLB_NONE;
	}
	return 0;
}

void rv64_code_close(struct hart *h)
{
	if (h->pages)
		munmap(h->pages, h->npages * sizeof(*h->pages));
	if (h->straddle)
		munmap(h->straddle, sizeof(*h->straddle));
	free(h->hash);
}

/* ---- the fetch TLB ---- */

void rv64_ftlb_flush(struct hart *h)
{
	for (unsigned m = 0; m < 2; m++) {
		struct ftlb *f = &h->ftlbs[m];

		if (f->nfills > FTLB_FILLS) {
			for (unsigned i = 0; i < FTLB_SIZE; i++)
				f->e[i].tag = TLB_NONE;
		} else {
			for (unsigned i = 0; i < f->nfills; i++)
				f->e[f->fills[i]].tag = TLB_NONE;
		}
		f->nfills = 0;
	}
}

void rv64_ftlb_flush_page(struct hart *h, uint64_t va)
{
	for (unsigned m = 0; m < 2; m++) {
		struct ftlb_entry *e = &h->ftlbs[m].e[ftlb_index(va)];

		if (e->tag == (va & ~(uint64_t)(GUEST_PAGE - 1)))
			e->tag = TLB_NONE;
	}
}

static void ftlb_fill(struct hart *h, uint64_t va, struct codepage *cp, bool super)
{
	unsigned i = ftlb_index(va);

	if (super)
		h->super[va >> 36 & 7] |= (uint64_t)1 << (va >> 30 & 63);
	h->ftlb->e[i] = (struct ftlb_entry){ va & ~(uint64_t)(GUEST_PAGE - 1), cp };
	if (h->ftlb->nfills < FTLB_FILLS)
		h->ftlb->fills[h->ftlb->nfills] = (uint16_t)i;
	h->ftlb->nfills += h->ftlb->nfills <= FTLB_FILLS;
}

/* ---- decoded pages ---- */

static uint32_t *page_head(struct hart *h, const struct region *r, uint64_t page)
{
	uint64_t key = (page ^ (uint64_t)(r - h->vm->memory.regions) << 40) * 0x9e3779b97f4a7c15u;

	return &h->hash[key >> 32 & h->hash_mask];
}

static void page_unlink(struct hart *h, struct codepage *cp)
{
	uint32_t self = (uint32_t)(cp - h->pages) + 1, *at = page_head(h, cp->r, cp->page);

	while (*at != self)
		at = &h->pages[*at - 1].next;
	*at   = cp->next;
	cp->r = NULL;
}

/* A page to decode into: an unused one, else the next in turn, but not the one that is being
 * executed. */
static struct codepage *page_take(struct hart *h)
{
	struct codepage *cp;

	if (h->used < h->npages)
		return &h->pages[h->used++];
	do {
		cp        = &h->pages[h->victim];
		h->victim = (h->victim + 1) % h->npages;
	} while (cp == h->cp);
	if (cp->r)
		page_unlink(h, cp);
	rv64_ftlb_flush(h);     /* it may have an entry there */
	return cp;
}

/* In the order of the rules above: code_gen, bit, requests. What is decoded into cp after this is
 * current as long as code_gen is. */
static void page_begin(struct hart *h, struct codepage *cp)
{
	struct region *r   = cp->r;
	uint64_t       bit = (uint64_t)1 << (cp->page % 64);

	if (cp->lo < cp->hi)
		memset(&cp->ops[cp->lo], 0, (size_t)(cp->hi - cp->lo) * sizeof(cp->ops[0]));
	cp->lo  = PAGE_OPS;
	cp->hi  = 0;
	cp->gen = atomic_load_explicit(&r->code_gen[cp->page], memory_order_acquire);
	atomic_fetch_or_explicit(&r->code[cp->page / 64], bit, memory_order_acq_rel);
	rv64_tlb_drop_page(h, r, cp->page);
	cp->clean = h->soft->nharts == 1;
	if (cp->clean)
		return;
	cp->seq = soft_send(h->soft, ~((uint64_t)1 << h->id), REQ_CODE);
}

static bool page_fresh(struct hart *h, struct codepage *cp)
{
	if (cp->gen != atomic_load_explicit(&cp->r->code_gen[cp->page], memory_order_acquire))
		return false;
	if (!cp->clean)
		cp->clean = soft_asked(h->soft, h, cp->seq);
	/* Compared again: an answer that has come since may have counted it up. */
	return cp->clean &&
	       cp->gen == atomic_load_explicit(&cp->r->code_gen[cp->page], memory_order_acquire);
}

static struct codepage *page_get(struct hart *h, struct region *r, uint64_t page)
{
	uint32_t        *head = page_head(h, r, page);
	struct codepage *cp;

	for (uint32_t at = *head; at; at = h->pages[at - 1].next) {
		cp = &h->pages[at - 1];
		if (cp->r != r || cp->page != page)
			continue;
		if (!page_fresh(h, cp)) {
			h->n_stale++;
			page_begin(h, cp);
		}
		return cp;
	}
	cp       = page_take(h);
	cp->r    = r;
	cp->page = page;
	cp->host = r->host + (page << GUEST_PAGE_SHIFT);
	cp->next = *head;
	*head    = (uint32_t)(cp - h->pages) + 1;
	page_sentinels(cp);
	page_begin(h, cp);
	h->n_pages++;
	return cp;
}

void rv64_code_drop(struct hart *h)
{
	rv64_ftlb_flush(h);
	for (uint32_t i = 0; i < h->used; i++)
		if (h->pages[i].r)
			page_unlink(h, &h->pages[i]);
	h->used = h->victim = 0;
	h->cp   = NULL;
}

struct codepage *rv64_fetch(struct hart *h, uint64_t pc)
{
	struct rv64_page p;
	struct codepage *cp;

	if (!rv64_translate(h, pc, ACCESS_FETCH, &p))
		return NULL;
	if (!p.r) {
		h->cause = CAUSE_FETCH_ACCESS;
		h->tval  = pc;
		return NULL;
	}
	cp = page_get(h, p.r, p.page);
	ftlb_fill(h, pc, cp, p.super);
	return cp;
}

/* ---- decoding ---- */

static uint32_t code_half(const struct codepage *cp, unsigned at)
{
	return __atomic_load_n((const uint16_t *)(const void *)(cp->host + at * 2),
			       __ATOMIC_RELAXED);
}

static void code_decode(struct rv64_op *op, uint32_t raw, unsigned len, unsigned at)
{
	rv64_decode(op, len == 2 ? rv64_expand((uint16_t)raw) : raw, len, at);
	if (op_code(op) == OP_illegal)
		op->imm = raw;
}

static bool code_ends_block(enum rv64_opcode code)
{
	switch (code) {
#define X(name, format, match, mask, lens) case OP_##name:
	RV64_INSNS_SYS(X)
#undef X
	case OP_jalr: case OP_jal: case OP_j_near: case OP_jal_near:
	case OP_beq: case OP_bne: case OP_blt: case OP_bge: case OP_bltu: case OP_bgeu:
	case OP_beq_near: case OP_bne_near: case OP_blt_near: case OP_bge_near:
	case OP_bltu_near: case OP_bgeu_near:
	case OP_illegal: case OP_straddle:
		return true;
	default:
		return false;
	}
}

void rv64_code_fill(struct codepage *cp, unsigned at)
{
	uint16_t decoded[PAGE_OPS];      /* their indexes in ops */
	unsigned count = 0, i = at, n = 0;
	bool     end = false;

	while (!end && i < PAGE_OPS && cp->ops[i].code == OP_decode << 1) {
		struct rv64_op *op  = &cp->ops[i];
		uint32_t        raw = code_half(cp, i);
		unsigned        len = (raw & 3) == 3 ? 4 : 2;

		if (len == 4 && i == PAGE_OPS - 1) {
			*op = (struct rv64_op){ .code = OP_straddle << 1 };
		} else {
			if (len == 4)
				raw |= code_half(cp, i + 1) << 16;
			code_decode(op, raw, len, i * 2);
		}
		decoded[count++] = (uint16_t)i;
		end = code_ends_block(op_code(op));
		i += len / 2;
	}
	if (!end && i < PAGE_OPS)
		n = cp->ops[i].n;
	/* Backwards, because n counts to the block's end, of which op i may be a decoded part. */
	for (unsigned k = count; k-- > 0; )
		cp->ops[decoded[k]].n = (uint16_t)++n;
	if (at < cp->lo)
		cp->lo = (uint16_t)at;
	if (i > cp->hi)
		cp->hi = (uint16_t)(i < PAGE_OPS ? i : PAGE_OPS);
}

struct rv64_op *rv64_straddle(struct hart *h, uint64_t pc)
{
	const uint64_t     next = pc + 2;
	struct ftlb_entry *e = &h->ftlb->e[ftlb_index(next)];
	struct codepage   *cp = e->tag == next ? e->cp : rv64_fetch(h, next);
	struct rv64_op    *op = &h->straddle->ops[PAGE_OPS - 1];
	uint32_t           raw;

	if (!cp)
		return NULL;
	raw = code_half(h->cp, PAGE_OPS - 1) | code_half(cp, 0) << 16;
	if (raw != h->straddle_raw || op->n != 1) {
		code_decode(op, raw, 4, 1u << 30);     /* an offset at which no target is near */
		op->n           = 1;
		h->straddle_raw = raw;
	}
	return op;
}

uint32_t rv64_raw(const struct hart *h, uint64_t pc, unsigned len)
{
	unsigned at = (unsigned)(pc & (GUEST_PAGE - 1)) / 2;

	if (len == 2)
		return code_half(h->cp, at);
	if (at == PAGE_OPS - 1)
		return h->straddle_raw;
	return code_half(h->cp, at) | code_half(h->cp, at + 1) << 16;
}
