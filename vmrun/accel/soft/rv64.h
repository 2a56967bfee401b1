/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_ACCEL_SOFT_RV64_H
#define VMRUN_ACCEL_SOFT_RV64_H

#include "format/state/state_hart.h"
#include "vmrun/accel/soft/rv64_ops.h"
#include "vmrun/vm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A hart of the software CPU, and the interfaces between its files:
 *
 *   rv64_expand.c, rv64_decode.c   bits to struct rv64_op; pure functions
 *   rv64_code.c    decoded pages, the fetch TLB, fence.i
 *   rv64_run.c     the executor (rv64_exec*.inc are its instruction bodies)
 *   rv64_mmu.c     Sv39, the data TLB, dirty marks
 *   rv64_access.c  slow loads and stores, atomics
 *   rv64_fp.c      F and D
 *   rv64_csr.c     CSRs, traps, interrupts
 *   rv64_sbi.c     what M-mode firmware would do
 *   soft*.c        threads: pause, idle, requests between threads, timers
 *
 * How it works. Code is decoded once into an array of ops for each physical page, one for each
 * halfword, so that pc is the op's address shifted (rv64_run.c). Data goes through a software TLB
 * with read and write tags over one addend. A write tag exists only after the slow store path has
 * marked the page dirty and invalidated its decoded code; a dirty log sync takes the marks, and
 * then the tags. A hart looks at requests of other threads (limit, req) at every backward or far
 * jump: its safe points.
 */

struct soft;
struct hart;

/* ---- data TLB ---- */

#define TLB_BITS  10
#define TLB_SIZE  (1u << TLB_BITS)
#define TLB_NONE  1u                     /* a tag that no access has */
#define TLB_FILLS 512u                   /* recorded, so that a flush touches only those */

struct tlb_entry {
	uint64_t  read, write;           /* page of the virtual address, or TLB_NONE */
	uintptr_t addend;                /* host address = virtual address + addend */
	uint64_t  page;                  /* in its region, which is regions[page >> 48] */
};

/* One for U, one for S, one for S with SUM: neither a trap nor a SUM toggle flushes. */
enum { TLB_U, TLB_S, TLB_SUM, TLBS };

struct tlb {
	struct tlb_entry e[TLB_SIZE];
	uint32_t         nfills;         /* above TLB_FILLS: not all are in fills */
	uint16_t         fills[TLB_FILLS];
};

static inline unsigned tlb_index(uint64_t va)
{
	return (unsigned)(va >> GUEST_PAGE_SHIFT) & (TLB_SIZE - 1);
}

/* ---- decoded code ---- */

#define PAGE_OPS   (GUEST_PAGE / 2)
#define FTLB_SIZE  512u
#define FTLB_FILLS 128u

struct codepage {
	struct region *r;                /* NULL: free */
	uint64_t       page;
	const uint8_t *host;
	uint64_t       seq;              /* of the REQ_CODE to other harts: drop your write tags */
	uint32_t       gen;              /* code_gen when decoding began */
	uint32_t       next;             /* in the hash chain, index + 1 */
	uint16_t       lo, hi;           /* ops in [lo, hi) may have been decoded */
	bool           clean;            /* all harts have answered that request */
	_Alignas(64) struct rv64_op ops[PAGE_OPS + 2];
};

struct ftlb_entry {
	uint64_t         tag;            /* virtual page or TLB_NONE */
	struct codepage *cp;
};

struct ftlb {
	struct ftlb_entry e[FTLB_SIZE];
	uint32_t          nfills;
	uint16_t          fills[FTLB_FILLS];
};

static inline unsigned ftlb_index(uint64_t va)
{
	return (unsigned)(va >> GUEST_PAGE_SHIFT) & (FTLB_SIZE - 1);
}

/* ---- requests to a hart: set by any thread, taken by its own thread at a safe point or before it
 * runs again ---- */

enum {
	REQ_LOOK   = 1 << 0,             /* pause, close, interrupts, timer: look at the flags */
	REQ_WDROP  = 1 << 1,             /* drop all write tags (dirty log sync) */
	REQ_CODE   = 1 << 2,             /* drop write tags of pages with decoded code, and count
					  * up their code_gen */
	REQ_TLB    = 1 << 3,             /* remote sfence.vma */
	REQ_FENCEI = 1 << 4,             /* remote fence.i */
	REQ_NAP    = 1 << 5,             /* throttle */
};

/* scause (Privileged 1.12, table 4.2). */
enum {
	CAUSE_FETCH_ACCESS = 1, CAUSE_ILLEGAL = 2, CAUSE_BREAK = 3,
	CAUSE_LOAD_ALIGN = 4, CAUSE_LOAD_ACCESS = 5,
	CAUSE_STORE_ALIGN = 6, CAUSE_STORE_ACCESS = 7,
	CAUSE_ECALL_U = 8, CAUSE_ECALL_S = 9,
	CAUSE_FETCH_PAGE = 12, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15,
};

enum { IRQ_SSI = 1, IRQ_STI = 5, IRQ_SEI = 9 };

/* What has no remark belongs to the hart's own thread; others touch it under soft->lock while the
 * hart is parked or outside. */

struct hart {
	/* live copy of s.x while it runs; [32] takes what goes to x0 */
	uint64_t         x[33];
	struct tlb      *tlb;            /* of this mode */
	struct ftlb     *ftlb;
	struct codepage *cp;             /* page that is executed */
	_Atomic uint64_t limit;          /* instret at which to look at req; 0: at once */

	struct hart_state s;             /* saved; pc, instret and x are stale while it runs */

	uint64_t         cause, tval;    /* of the trap that a helper reported */
	bool             timer;          /* sip.STIP when rv64_timer_look was last called */

	struct vm       *vm;
	struct soft     *soft;
	uint32_t         id;
	pthread_t        thread;
	_Atomic int      tid;
	bool             threaded;

	_Atomic uint32_t req;
	_Atomic bool     ext;            /* external interrupt line */
	_Atomic bool     outside;        /* executes nothing, and takes requests before it does:
					  * they count as done */
	_Atomic bool     sleeping;       /* waits on wake */
	_Atomic uint64_t ack;            /* soft->seq up to which requests are done */
	_Atomic uint64_t timer_at;       /* guest ns at which the timer thread must wake it,
					  * UINT64_MAX: never */
	pthread_cond_t   wake;
	uint64_t         nap_end;        /* host ns at the end of the throttle's last sleep */
	bool             parked;         /* soft->lock; paused, state in s */
	bool             stuck;          /* has asked for the VM's end or reset: executes nothing
					  * until paused or reset */

	/* decoded code */
	struct codepage *pages;          /* npages of them */
	uint32_t         npages, used, victim;
	uint32_t        *hash;           /* index + 1 */
	uint32_t         hash_mask;
	struct codepage *straddle;       /* one op in the last halfword */
	uint32_t         straddle_raw;

	/* what the TLBs hold */
	uint64_t         super[8];       /* a bit for each GiB of virtual addresses: has entries
					  * made from superpages */
	uint32_t         nwrites;        /* write tags made since the last drop; above TLB_FILLS:
					  * not all are in writes */
	uint16_t         writes[TLB_FILLS];      /* TLB << TLB_BITS | index */
	struct tlb       tlbs[TLBS];
	struct ftlb      ftlbs[2];       /* by privilege */

	/* counters */
	uint64_t         n_traps, n_irqs, n_walks, n_pages, n_stale, n_mmio, n_sbi;
};

/* The lock protects what is not atomic and not one hart's. It is not held while guest code runs or
 * a device is accessed. */
struct soft {
	struct accel     a;
	uint32_t         nharts;
	struct hart     *harts[8];
	pthread_mutex_t  lock;
	pthread_cond_t   acks;           /* a hart has acknowledged, parked or gone outside */
	_Atomic uint32_t waiters;        /* threads that wait on acks */
	_Atomic uint64_t seq;            /* number of the last request to several harts */
	bool             held, closing;  /* written with lock, by harts also read without it */
	uint64_t         patience_ns;    /* how long pause and dirty log sync wait for a hart in a
					  * device access */
	unsigned         throttle;       /* percent */
	uint64_t         tick_div;       /* ns per tick of the time CSR, 0: not a whole number */
	uint64_t         timebase;

	pthread_t        timer;          /* soft_timer.c */
	bool             timer_threaded;
	pthread_cond_t   timer_wake;
	_Atomic uint64_t timer_next;     /* guest ns until which the timer thread sleeps */
};

/* soft_hart.c. Post: an idle hart sleeps on, and takes the request before it runs. Kick: wakes
 * it as well; not with soft->lock, which it takes. */
void soft_post(struct hart *h, uint32_t req);
void soft_kick(struct hart *h, uint32_t req);
void *soft_hart_main(void *arg);
/* On its own thread, at a safe point: does what other threads requested. */
void soft_requests(struct hart *h);
/* The executor at a safe point: requests, then interrupts. false: leave rv64_run. */
bool soft_event(struct hart *h);
/* Sends req to the harts in mask and returns when each has done it; self, which may be NULL, counts
 * as outside while it waits. Without soft->lock. */
void soft_ask(struct soft *m, struct hart *self, uint64_t mask, uint32_t req);
/* The same; false: a hart has not done it after ns. It will before it touches memory again. */
bool soft_ask_within(struct soft *m, uint64_t mask, uint32_t req, uint64_t ns);
/* Requests of the harts in mask, taken at their next safe points; returns the seq that their acks
 * must reach. Any thread; does not wait. */
uint64_t soft_send(struct soft *m, uint64_t mask, uint32_t req);
/* Have all harts but self done the request of that seq? Does not wait. */
bool soft_asked(const struct soft *m, const struct hart *self, uint64_t seq);

/* soft_selftest.c */
int soft_selftest(struct fail *why);

/* soft_timer.c */
int soft_timer_open(struct soft *m, struct fail *why);
void soft_timer_close(struct soft *m);
void soft_timer_arm(struct hart *h);             /* stimecmp or sie has changed, or it resumes */
uint64_t soft_ticks(const struct soft *m, uint64_t ns);
/* The first ns that belongs to that tick; saturates. */
uint64_t soft_ticks_ns(const struct soft *m, uint64_t ticks);
uint64_t rv64_time(const struct hart *h);

/* rv64_run.c: until soft_event says to leave */
void rv64_run(struct hart *h);

/* rv64_mmu.c. false: a trap is in cause and tval. */
enum rv64_access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };
struct rv64_page {
	struct region *r;                /* NULL: not memory */
	uint64_t       page;             /* in r */
	uint64_t       gpa;              /* of the page */
	bool           super;
};
bool rv64_translate(struct hart *h, uint64_t va, enum rv64_access access, struct rv64_page *p);
/* Host address of va, valid up to the end of its page, through the TLB, which is filled. *host
 * NULL: not memory; *gpa is set either way. For ACCESS_WRITE the page has been marked dirty: the
 * caller stores before its next safe point. */
bool rv64_host(struct hart *h, uint64_t va, enum rv64_access access, uint8_t **host,
	       uint64_t *gpa);
bool rv64_fault(struct hart *h, unsigned cause, uint64_t tval);              /* false, always */
bool rv64_access_fault(struct hart *h, uint64_t va, enum rv64_access access);
/* Asked before anything that is seen outside of hart and memory. True: guest memory is lost
 * (vmrun/memory.h), so it must not happen, and the hart executes nothing after this block. */
bool rv64_lost(struct hart *h);
void rv64_tlb_flush(struct hart *h);                     /* data and fetch */
void rv64_tlb_flush_page(struct hart *h, uint64_t va);
void rv64_tlb_mode(struct hart *h);                      /* privilege or SUM has changed */
void rv64_tlb_drop_writes(struct hart *h);
void rv64_tlb_drop_code(struct hart *h);                 /* REQ_CODE */
void rv64_tlb_drop_page(struct hart *h, const struct region *r, uint64_t page);

/* rv64_access.c. false: a trap. */
bool rv64_load(struct hart *h, uint64_t va, unsigned size, uint64_t *value);
bool rv64_store(struct hart *h, uint64_t va, unsigned size, uint64_t value);
/* Host address for an atomic access that writes, NULL for a trap. gpa may be NULL. */
void *rv64_atomic(struct hart *h, uint64_t va, unsigned size, uint64_t *gpa);
bool rv64_lr(struct hart *h, uint64_t va, unsigned size, uint64_t *value);
bool rv64_sc(struct hart *h, uint64_t va, unsigned size, uint64_t value, bool *stored);

/* rv64_code.c */
int rv64_code_open(struct hart *h, struct fail *why);
void rv64_code_close(struct hart *h);
/* The decoded page of pc, also put into the fetch TLB; NULL: trap. */
struct codepage *rv64_fetch(struct hart *h, uint64_t pc);
void rv64_code_fill(struct codepage *cp, unsigned at);         /* decodes the block at op `at` */
/* The op at the end of h->cp whose upper half is in the next page; NULL: trap. */
struct rv64_op *rv64_straddle(struct hart *h, uint64_t pc);
/* The bits of the op at pc, which h->cp or the straddling op has. */
uint32_t rv64_raw(const struct hart *h, uint64_t pc, unsigned len);
void rv64_ftlb_flush(struct hart *h);
void rv64_ftlb_flush_page(struct hart *h, uint64_t va);
void rv64_code_drop(struct hart *h);                           /* drops every decoded page */

/* rv64_csr.c */
enum rv64_after { AFTER_TRAP, AFTER_NEXT, AFTER_ENTER };
enum rv64_after rv64_csr(struct hart *h, const struct rv64_op *op);
void rv64_trap(struct hart *h);                  /* enters the handler with cause, tval, s.pc */
enum rv64_after rv64_sret(struct hart *h);
uint64_t rv64_sip(const struct hart *h);
void rv64_timer_look(struct hart *h);            /* timer = time has reached stimecmp */
bool rv64_irq_take(struct hart *h);              /* true: s.pc is now the handler's */
/* All of s but ssip, which other harts may be setting. */
void rv64_reset(struct hart *h, bool run, uint64_t pc, uint64_t arg);

/* rv64_sbi.c: s.pc is at the ecall on entry, after it on return, unless the hart is stuck */
void rv64_sbi(struct hart *h);

#endif
