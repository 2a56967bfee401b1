/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_KVM_RIG_H
#define TESTS_UNIT_KVM_RIG_H

#include "tests/unit/tap.h"
#include "vmrun/accel/kvm/kvm.h"
#include "vmrun/vm.h"

/* A VM under KVM with a stand-in for the board: a window of MMIO and one of ports answer and
 * write down what comes. Guests are a few instructions of machine code, in long mode over page
 * tables that map the first 4 GiB one to one. */

#define RIG_BYTES  ((uint64_t)32 << 20)
#define RIG_GDT    0x8000u
#define RIG_TABLES 0x9000u           /* PML4, PDPT, four PDs: to 0xf000 */
#define RIG_STACK  0x20000u          /* and a page more for each vCPU */
#define RIG_CODE   0x100000u         /* and 0x1000 more for each vCPU */
#define RIG_DATA   0x110000u
#define RIG_DONE   0x120000u         /* a guest at its end stores 1 here */
#define RIG_MMIO   0xd0000000u       /* 0x1000 */
#define RIG_PORTS  0x500u            /* 0x100 */
#define RIG_ROM    0xffff0000u

struct rig_access {
	uint64_t gpa, value;
	unsigned size;
	bool     write;
};

struct rig {
	struct vm         vm;            /* first */
	struct kvm       *k;
	_Atomic uint32_t  n;             /* accesses, of which the first are in log */
	struct rig_access log[64];
	_Atomic uint32_t  event_at;      /* a write to this port requests a reset */
	_Atomic uint32_t  block;         /* one to this waits for vm.machine_lock */
	void            (*on_write)(struct rig *g, uint64_t gpa);      /* NULL: nothing more */
};


/* Skips everything (and exits) where KVM can't be used. */
void rig_need_kvm(void);

/* cfg of a VM with ncpus vCPUs and RAM of that size; more regions may be added before rig_open. */
void rig_plan(struct rig *g, uint32_t ncpus, uint64_t ram);
int rig_memory(struct rig *g, struct fail *why);      /* region memory, page tables, GDT */
int rig_open(struct rig *g, struct fail *why);        /* and the accelerator; paused */
void rig_must_open(struct rig *g, uint32_t ncpus);    /* all three, or bails out */
void rig_close(struct rig *g);

/* Paused: every vCPU to power-on state; rig_load starts one at code, with these arguments. */
void rig_reset(struct rig *g);
void rig_load(struct rig *g, uint32_t cpu, const uint8_t *code, const uint8_t *end, uint64_t rdi,
	      uint64_t rsi, uint64_t rdx);
void rig_post_load(struct rig *g);

void rig_pause(struct rig *g);
void rig_regs(struct rig *g, uint32_t cpu, struct kvm_regs *regs);      /* paused */
void *rig_host(struct rig *g, uint64_t gpa);
uint64_t rig_get(struct rig *g, uint64_t gpa);      /* vCPUs may be writing it */
/* Waits up to 20 s until the u64 at gpa is value, or an event came. */
bool rig_wait(struct rig *g, uint64_t gpa, uint64_t value);
bool rig_wait_event(struct rig *g);
void rig_nap(unsigned us);

/* Guest code: GUEST(name, "text") gives name and name_end. Position-independent; no SSE, which
 * an interpreting KVM lacks. */
#define GUEST(name, text) \
	extern const uint8_t name[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection")
/* rax = 1 into RIG_DONE, then halt for good. */
#define GUEST_DONE "\nmovq $1, 0x120000\n999: hlt\njmp 999b\n"

#endif
