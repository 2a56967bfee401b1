/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_ACCEL_KVM_KVM_H
#define VMRUN_ACCEL_KVM_KVM_H

#include "format/state/state_x86.h"
#include "format/state/x86_names.h"
#include "vmrun/accel/accel.h"
#include "vmrun/memory.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

/* KVM on x86-64 as a backend. One concern a file:
 *
 *   kvm.c        accel.h's functions: open, close, reset, pause, resume
 *   kvm_caps.c   what this host's KVM can do, read once; probe, info; the interpreting KVM told from a real one
 *   kvm_slots.c  memory slots over the regions' memfds, the dirty log
 *   kvm_vcpu.c   a vCPU's thread: KVM_RUN, being held, being throttled
 *   kvm_exit.c   what a vCPU came out of KVM_RUN for: ports, MMIO, its end
 *   kvm_irq.c    GSI routing, level lines, irqfd, ioeventfd
 *   kvm_cpuid.c  CPUID and MSRs in the configuration: plan; kvm_cpuid_models.c: what --cpu says; kvm_cpuid_topology.c
 *   kvm_cpu.c    a vCPU's state: fetched, put, reset
 *   kvm_msrs.c   which MSRs are state
 *   kvm_chips.c  state of the in-kernel irqchip and PIT
 *   kvm_time.c   kvm-clock and TSC: what a pause, a save and a load do to a guest's time
 *   kvm_selftest.c  a VM without a board
 *
 * Every ioctl goes through kvm_call, so that every failure names the request, and tests can make each one fail. */

struct kvm_caps {
	int      api;
	int      vcpus_max;
	int      run_bytes;             /* of the mmap of a vCPU */
	int      xsave_bytes;           /* KVM_CAP_XSAVE2, or 4096 */
	int      nslots;
	uint32_t manual_protect;        /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: bits */
	bool     sregs2, xcrs, tsc_control, readonly_mem, irqfd_resample, ioeventfd, adjust_clock_realtime, kvmclock_ctrl,
		 exception_payload, triple_fault_event;
	bool     interprets;            /* kvm_pvm: every instruction is emulated; Linux does not boot */
};

#define KVM_CPUS_MAX 255u                 /* APIC ids of 8 bits, of which 255 means everybody */

struct kvm;

/* What moves on by itself while a VM stands, as it was when it stopped or as it was loaded since; valid between a stop and a
 * start. A save takes these, so that two saves of one pause, and a load between them, agree. */
struct kvm_frozen {
	bool     valid;
	uint64_t tsc;
	uint32_t tmcct;                 /* current count of the APIC's timer */
};

struct kvm_vcpu {
	struct kvm     *k;
	uint32_t        id;             /* also its APIC id */
	int             fd;
	struct kvm_run *run;
	pthread_t       thread;
	_Atomic int     tid;
	bool            threaded;
	bool            parked;         /* under k->lock: stands outside KVM_RUN, no I/O half done */
	bool            waits;          /* has asked for the VM's end or reset: stays until reset or loaded; under k->lock */
	_Atomic bool    nap;            /* the throttle wants it to sleep */
	uint64_t        nap_end;        /* io_now_ns of its last sleep's end */

	struct x86_cpu_state  s;        /* what parts names; true after collect, made so by loaded and reset */
	struct x86_cpu_state *power_on; /* as KVM made it: reset goes back to it */
	struct kvm_frozen     frozen;

	_Atomic uint64_t n_exits, n_mmio, n_pio, n_kicks;
};

/* A region's memory slot; its number is the region's index. */
struct kvm_slot {
	bool      there, logs;
	uint64_t  gpa, size;
	uint64_t *map;       /* of its log, as it was read last; NULL: none yet, or not logging */
};

struct kvm {
	struct accel     a;             /* first */
	struct kvm_caps  caps;
	int              sys, fd;       /* /dev/kvm, the VM */
	uint32_t         nvcpus;
	struct kvm_vcpu *vcpus;         /* nvcpus */

	pthread_mutex_t  lock;          /* held, closing, parked, waits, throttle */
	pthread_cond_t   wake;          /* the vCPUs': held, closing or throttle has changed */
	pthread_cond_t   acks;          /* the pauser's: parked has changed */
	bool             held, closing;
	bool             running;       /* between a resume and a pause that has come to its end */
	_Atomic bool     stop;          /* held or closing, for the vCPU between two KVM_RUNs */

	unsigned         throttle;      /* percent */
	pthread_t        throttler;     /* kicks the vCPUs while there is a throttle */
	bool             throttling;    /* that thread is there */
	pthread_cond_t   throttle_wake;

	bool             logging;       /* under vm->control_lock, as the slots */
	uint32_t         manual;        /* bits of manual_protect that are switched on; 0: a harvest clears as it reads */
	struct kvm_slot  slots[LIMIT_REGIONS];
	_Atomic uint64_t sync_ns, syncs;          /* time the harvests took, for the counters */

	struct x86_vm_state  s, *power_on;
	struct kvm_clock_data stopped_at;         /* the clock when the vCPUs stopped: put back when they go on */
	bool             clock_stopped;
	uint64_t         stopped_ns;              /* io_now_ns then */
	bool             pit_loaded;              /* since it stopped: KVM knows no longer when the counts began */
	bool             noted[LIMIT_MSRS];       /* of cfg's MSRs: that it can't be read has been said */
};

/* The one door to ioctl (kvm_caps.c): EINTR and EAGAIN are tried again, what names it in *why ("KVM_SET_MSRS, vCPU 2").
 * The ioctl's value, or -1. why NULL: the caller says it himself. */
int kvm_call(int fd, unsigned long request, void *arg, const char *what, struct fail *why);
/* The same with a number for argument. */
int kvm_call_n(int fd, unsigned long request, unsigned long arg, const char *what, struct fail *why);

/* kvm_caps.c. Opens /dev/kvm: *sys on success; a failure names the remedy (load the module, the group, a newer kernel). */
int kvm_caps_open(int *sys, struct kvm_caps *caps, struct fail *why);
int kvm_probe(enum machine_type type, struct fail *why);
void kvm_info(struct json_t *into);

/* kvm_slots.c */
int kvm_slots_open(struct kvm *k, struct fail *why);      /* a slot a region, ROM read-only; none for disks */
/* Held. A region's slot goes, and comes again (where the region's gpa then is). What vCPUs had written by then is marked in
 * the region, so that the next harvest has it. */
int kvm_slot_remove(struct kvm *k, unsigned region, struct fail *why);
int kvm_slot_add(struct kvm *k, unsigned region, struct fail *why);
int kvm_log(struct accel *a, bool on, struct fail *why);
int kvm_sync_dirty_log(struct accel *a, uint64_t *const taken[], struct fail *why);

/* kvm_vcpu.c */
int kvm_vcpu_open(struct kvm_vcpu *v, struct fail *why);      /* fd and mapping; the thread starts with kvm_vcpu_start */
int kvm_vcpu_start(struct kvm_vcpu *v, struct fail *why);
void kvm_vcpu_close(struct kvm_vcpu *v);                      /* its thread has ended */
void kvm_vcpu_kick(struct kvm_vcpu *v);                       /* out of KVM_RUN, or not into it */
/* With k->lock: kicks until all have parked, or until then on io_now_ns's clock (0: for ever); -1 with *why names one. */
int kvm_vcpus_quiesce(struct kvm *k, uint64_t until_ns, struct fail *why);
int kvm_throttle_open(struct kvm *k, struct fail *why);
void kvm_throttle_close(struct kvm *k);                       /* k->closing is set */
void kvm_throttle(struct accel *a, unsigned percent);

/* kvm_exit.c, on the vCPU's thread. False: it stays here, for the VM's end or reset was asked for. */
bool kvm_exit(struct kvm_vcpu *v);
/* It can't go on: text for the user, VM_EVENT_DEAD. */
void kvm_vcpu_dead(struct kvm_vcpu *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* kvm_irq.c */
int kvm_irq_open(struct kvm *k, struct fail *why);            /* irqchip, PIT2, routing of the 24 IOAPIC pins; before vCPUs */
void kvm_gsi(struct accel *a, uint32_t gsi, bool level);
/* An eventfd behind an interrupt: an edge, or with resample (an fd that is signalled at the guest's EOI) a level. */
int kvm_irqfd(struct kvm *k, uint32_t gsi, int fd, int resample_fd, bool on, struct fail *why);
int kvm_notify(struct accel *a, uint64_t gpa, uint32_t value, int fd, bool on, struct fail *why);
/* A guest write of len bytes (value, unless any) at gpa, or at a port from MACHINE_IO on, signals fd instead of an exit. */
int kvm_ioeventfd(struct kvm *k, uint64_t gpa, unsigned len, bool any, uint64_t value, int fd, bool on, struct fail *why);

/* kvm_cpuid.c */
int kvm_plan(struct machine *cfg, const struct accel_want *want, struct fail *why);
int kvm_cpuid_put(struct kvm_vcpu *v, struct fail *why);      /* cfg's CPUID with this vCPU's APIC id; once, before its state */

/* kvm_cpu.c. All vCPUs stand; any thread. */
int kvm_cpu_fetch(struct kvm_vcpu *v, struct fail *why);      /* into v->s */
int kvm_cpu_put(struct kvm_vcpu *v, struct fail *why);        /* from v->s */
void kvm_cpu_entry(struct kvm_vcpu *v, const struct boot_entry *e);      /* v->s is power-on state: vCPU 0 is to start at e */
/* The sections of s, in a fixed order; kvm_cpu_sections: of a vCPU's own. */
size_t kvm_cpu_state_sections(struct x86_cpu_state *s, struct state_section *out, size_t max);
size_t kvm_cpu_sections(struct accel *a, uint32_t cpu, struct state_section *out, size_t max);

/* kvm_msrs.c. Ascending numbers of the MSRs that are saved on this host, as far as this vCPU (any fd) can read them; the
 * count, at most LIMIT_MSRS, or -1. */
int kvm_msrs_list(int sys, int vcpu, uint32_t out[LIMIT_MSRS], struct fail *why);
int kvm_msrs_fetch(struct kvm_vcpu *v, struct fail *why);     /* into v->s.msrs */
/* From v->s.msrs, all but IA32_TSC_DEADLINE, which KVM takes only once the local APIC is as it was: kvm_msrs_put_deadline. */
int kvm_msrs_put(struct kvm_vcpu *v, struct fail *why);
int kvm_msrs_put_deadline(struct kvm_vcpu *v, struct fail *why);
/* One MSR; set: false when KVM does not take it. */
#define MSR_TSC          0x10u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_TSC_DEADLINE 0x6e0u
bool kvm_msr_get(int vcpu, uint32_t msr, uint64_t *value);
bool kvm_msr_set(int vcpu, uint32_t msr, uint64_t value);
uint64_t *kvm_msr_saved(struct x86_msrs_state *s, uint32_t msr);      /* NULL: not among them */

/* kvm_chips.c. Irqchips and PIT go before the vCPUs' state, the clock after it. */
int kvm_chips_fetch(struct kvm *k, struct fail *why);         /* into k->s, the clock too */
int kvm_chips_put(struct kvm *k, struct fail *why);
size_t kvm_vm_sections(struct accel *a, struct state_section *out, size_t max);
int kvm_pit_start(struct kvm *k, struct fail *why);           /* after a stop: forgets the ticks it has counted since */

/* kvm_time.c */
void kvm_tsc_away(struct kvm_vcpu *v);                        /* before IA32_TSC is put */
int kvm_clock_fetch(struct kvm *k, struct fail *why);         /* into k->s.clock */
int kvm_clock_put(struct kvm *k, enum clock_policy policy, struct fail *why);
/* At a pause and when it is over: the guest's clock stands still meanwhile, and its watchdogs are told. */
int kvm_clock_stop(struct kvm *k, struct fail *why);
int kvm_clock_start(struct kvm *k, struct fail *why);

/* kvm_cpuid.c's own: what --cpu says, applied to what the host has (kvm_cpuid_models.c); CPUs as cores of one socket
 * (kvm_cpuid_topology.c). */
struct machine_cpuid *kvm_cpuid_find(struct machine *m, uint32_t leaf, uint32_t index);      /* NULL: none */
uint32_t *kvm_cpuid_reg(struct machine_cpuid *e, enum x86_reg reg);
int kvm_cpuid_model(struct machine *m, const char *cpu, struct fail *why);
void kvm_cpuid_topology(struct machine *m);
void kvm_cpuid_apic_id(struct machine_cpuid *e, uint32_t id);      /* of one answer, for one vCPU */

int kvm_selftest(struct fail *why);                           /* kvm_selftest.c */

#endif
