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
 *   kvm_caps.c   what this host's KVM can do, read once; probe, info; which KVM emulates every
 *                instruction; the ioctl wrapper
 *   kvm_slots.c  memory slots over the regions' memfds, the dirty log
 *   kvm_vcpu.c   a vCPU's thread: KVM_RUN, pause, throttle
 *   kvm_exit.c   why KVM_RUN returned: ports, MMIO, the VM's end
 *   kvm_irq.c    GSI routing, interrupt lines, irqfd, ioeventfd
 *   kvm_selftest.c  a VM without a board
 * x86/:
 *   kvm_cpuid.c  CPUID and MSRs in the configuration: plan; kvm_cpuid_features.c: what can be
 *                offered; kvm_cpuid_models.c: --cpu; kvm_cpuid_topology.c: cores and APIC ids
 *   kvm_cpu.c    a vCPU's state: fetch, put, reset
 *   kvm_msrs.c   which MSRs are state
 *   kvm_chips.c  state of the in-kernel irqchip and PIT
 *   kvm_time.c   kvm-clock and TSC: what a pause, a save and a load do to a guest's time
 *
 * Every ioctl goes through kvm_call, so that every failure names the request, and tests can make
 * each one fail. Only KVM_RUN does not: its EINTR is the signal to pause. */

struct kvm_caps {
	int      api;
	int      vcpus_max;
	int      run_bytes;             /* size of the mmap of a vCPU */
	int      xsave_bytes;           /* KVM_CAP_XSAVE2, or 4096 */
	int      nslots;
	uint32_t manual_protect;        /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: bits */
	bool     sregs2, xcrs, tsc_control, readonly_mem, irqfd_resample, ioeventfd,
		 adjust_clock_realtime, kvmclock_ctrl, exception_payload, triple_fault_event;
	bool     interprets;            /* kvm_pvm: emulates every instruction */
};

/* APIC ids have 8 bits, and 255 addresses all (Intel SDM 3A, "Physical Destination Mode"). */
#define KVM_CPUS_MAX 255u

struct kvm;

/* What KVM lets advance while a VM is paused, as it was when the VM paused or as it was loaded
 * since; valid between a pause and a resume. A save takes these values, so that two saves of one
 * pause are equal, and equal to a save after a load in between. */
struct kvm_frozen {
	bool     valid;
	uint64_t tsc;
	uint32_t tmcct;                 /* current count of the APIC's timer */
};

struct kvm_vcpu {
	struct kvm     *k;
	uint32_t        id;             /* also its APIC id */
	int             fd;
	struct kvm_run *run;            /* but for immediate_exit, its thread's alone */
	pthread_t       thread;
	_Atomic int     tid;
	bool            threaded;
	bool            parked;         /* k->lock; outside KVM_RUN, no I/O half done */
	bool            waits;          /* k->lock; has asked for the VM's end or reset: runs
					 * nothing until it is reset or loaded */
	_Atomic bool    nap;            /* the throttle asks it to sleep */
	uint64_t        nap_end;        /* io_now_ns at the end of its last sleep */

	/* What sections names: current after sync_state; post_load and reset put it into KVM. */
	struct x86_cpu_state  s;
	struct x86_cpu_state *power_on; /* as KVM made it, for reset */
	struct kvm_frozen     frozen;

	_Atomic uint64_t n_exits, n_mmio, n_pio, n_kicks;
};

/* A region's memory slot; its number is the region's index. */
struct kvm_slot {
	bool      there, logs;
	uint64_t  gpa, size;
	uint64_t *map;       /* for KVM_GET_DIRTY_LOG; NULL: not yet allocated, or not logging */
};

/* The lock protects what vCPU threads, the throttle thread and the main or a lease thread share.
 * It is never held during KVM_RUN or a device access, which can last. What has no remark is
 * constant after open, or protected by vm->control_lock. */
struct kvm {
	struct accel     a;             /* first */
	struct kvm_caps  caps;
	int              sys, fd;       /* /dev/kvm, the VM */
	uint32_t         nvcpus;
	struct kvm_vcpu *vcpus;         /* nvcpus */

	pthread_mutex_t  lock;          /* held, closing, parked, waits, throttle */
	pthread_cond_t   wake;          /* for vCPUs: held, closing or throttle has changed */
	pthread_cond_t   acks;          /* for kvm_vcpus_quiesce: a parked has changed */
	bool             held, closing;
	bool             running;       /* from a resume to a pause that succeeded */
	_Atomic bool     stop;          /* held or closing, for reading without lock */

	unsigned         throttle;      /* percent */
	pthread_t        throttler;     /* kicks the vCPUs while there is a throttle */
	bool             throttling;    /* that thread exists */
	pthread_cond_t   throttle_wake;

	bool             logging;       /* under vm->control_lock, like the slots */
	uint32_t         manual;        /* bits of manual_protect that are enabled; 0: the log is
					 * cleared as it is read */
	struct kvm_slot  slots[LIMIT_REGIONS];
	_Atomic uint64_t sync_ns, syncs;          /* time and number of dirty log syncs: counters */

	struct x86_vm_state  s, *power_on;
	struct kvm_clock_data stopped_at;         /* kvm-clock at the pause, set again at resume */
	bool             clock_stopped;
	uint64_t         stopped_ns;              /* io_now_ns then */
	bool             pit_loaded;              /* since the pause: KVM has lost when the counts
						   * began */
	bool             noted[LIMIT_MSRS];       /* by index in cfg.msrs: reported as unreadable */
};

/* All ioctls but KVM_RUN (kvm_caps.c). Retries EINTR and EAGAIN; what is the request's name for
 * *why ("KVM_SET_MSRS, vCPU 2"). The ioctl's value, or -1. why NULL: the caller reports it. */
int kvm_call(int fd, unsigned long request, void *arg, const char *what, struct fail *why);
/* The same with a number as argument. */
int kvm_call_n(int fd, unsigned long request, unsigned long arg, const char *what,
	       struct fail *why);

/* kvm_caps.c. Opens /dev/kvm: *sys on success; a failure names the remedy (load the module, join
 * the group, use a newer kernel). */
int kvm_caps_open(int *sys, struct kvm_caps *caps, struct fail *why);
int kvm_probe(enum machine_type type, struct fail *why);
void kvm_info(struct json_t *into);

/* kvm_slots.c. A slot for each region but disks; ROM is read-only. */
int kvm_slots_open(struct kvm *k, struct fail *why);
/* Paused. A region's slot is removed, and added again at what is then the region's gpa. What vCPUs
 * wrote until then is marked in region.dirty, where the next dirty log sync finds it. */
int kvm_slot_remove(struct kvm *k, unsigned region, struct fail *why);
int kvm_slot_add(struct kvm *k, unsigned region, struct fail *why);
int kvm_log(struct accel *a, bool on, struct fail *why);
int kvm_sync_dirty_log(struct accel *a, uint64_t *const taken[], struct fail *why);

/* kvm_vcpu.c. Open makes the file descriptor and the mapping, start the thread; close joins it:
 * k->closing is set. */
int kvm_vcpu_open(struct kvm_vcpu *v, struct fail *why);
int kvm_vcpu_start(struct kvm_vcpu *v, struct fail *why);
void kvm_vcpu_close(struct kvm_vcpu *v);
/* Makes KVM_RUN return, or not start; any thread. */
void kvm_vcpu_kick(struct kvm_vcpu *v);
/* With k->lock, which it drops while it waits: kicks vCPUs until all are parked, or until until_ns
 * on io_now_ns's clock (0: without limit); -1 with *why names one that is not. */
int kvm_vcpus_quiesce(struct kvm *k, uint64_t until_ns, struct fail *why);
int kvm_throttle_open(struct kvm *k, struct fail *why);
void kvm_throttle_close(struct kvm *k);                       /* k->closing is set */
void kvm_throttle(struct accel *a, unsigned percent);

/* kvm_exit.c, on the vCPU's thread, without locks. False: the VM's end or reset was requested, and
 * the vCPU must not run on. */
bool kvm_exit(struct kvm_vcpu *v);
void kvm_vcpu_wait(struct kvm_vcpu *v);
/* The vCPU cannot continue: the cause for the user, and VM_EVENT_DEAD. Not with k->lock. */
void kvm_vcpu_dead(struct kvm_vcpu *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* kvm_irq.c. Irqchip, PIT2 and the routes of the 24 IOAPIC pins: KVM wants them before vCPUs. */
int kvm_irq_open(struct kvm *k, struct fail *why);
void kvm_gsi(struct accel *a, uint32_t gsi, bool level);
/* An eventfd raises an interrupt: an edge, or a level when there is a resample_fd, which KVM
 * signals at the guest's EOI; -1: none. */
int kvm_irqfd(struct kvm *k, uint32_t gsi, int fd, int resample_fd, bool on, struct fail *why);
int kvm_notify(struct accel *a, uint64_t gpa, uint32_t value, int fd, bool on, struct fail *why);
/* A guest write of len bytes, of value unless any, at gpa, or at a port from MACHINE_IO on, signals
 * fd instead of causing an exit. */
int kvm_ioeventfd(struct kvm *k, uint64_t gpa, unsigned len, bool any, uint64_t value, int fd,
		  bool on, struct fail *why);

/* kvm_cpuid.c */
int kvm_plan(struct machine *cfg, const struct accel_want *want, struct fail *why);
/* cfg's CPUID with this vCPU's APIC id; once, before its state. */
int kvm_cpuid_put(struct kvm_vcpu *v, struct fail *why);

/* kvm_cpu.c. All vCPUs are paused; any thread. */
int kvm_cpu_fetch(struct kvm_vcpu *v, struct fail *why);      /* KVM to v->s */
int kvm_cpu_put(struct kvm_vcpu *v, struct fail *why);        /* v->s to KVM */
/* v->s is power-on state: makes it start at e. */
void kvm_cpu_entry(struct kvm_vcpu *v, const struct boot_entry *e);
/* The sections of s, in a fixed order; kvm_cpu_sections: of a vCPU's own. */
size_t kvm_cpu_state_sections(struct x86_cpu_state *s, struct state_section *out, size_t max);
size_t kvm_cpu_sections(struct accel *a, uint32_t cpu, struct state_section *out, size_t max);

/* kvm_msrs.c. Ascending numbers of the MSRs that are saved on this host, as far as this vCPU (any
 * fd) can read them; the count, at most LIMIT_MSRS, or -1. */
int kvm_msrs_list(int sys, int vcpu, uint32_t out[LIMIT_MSRS], struct fail *why);
int kvm_msrs_fetch(struct kvm_vcpu *v, struct fail *why);     /* into v->s.msrs */
/* From v->s.msrs, all but IA32_TSC_DEADLINE, which KVM takes only once the local APIC is in its
 * mode: kvm_msrs_put_deadline. */
int kvm_msrs_put(struct kvm_vcpu *v, struct fail *why);
int kvm_msrs_put_deadline(struct kvm_vcpu *v, struct fail *why);
/* One MSR; set: false when KVM does not take it. */
#define MSR_TSC          0x10u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_TSC_DEADLINE 0x6e0u
bool kvm_msr_get(int vcpu, uint32_t msr, uint64_t *value);
bool kvm_msr_set(int vcpu, uint32_t msr, uint64_t value);
uint64_t *kvm_msr_saved(struct x86_msrs_state *s, uint32_t msr);      /* NULL: not saved */

/* kvm_chips.c. Put: before the vCPUs' state; the clock comes after it. */
int kvm_chips_fetch(struct kvm *k, struct fail *why);         /* into k->s, the clock too */
int kvm_chips_put(struct kvm *k, struct fail *why);
size_t kvm_vm_sections(struct accel *a, struct state_section *out, size_t max);
/* At a resume: drops the ticks that the PIT has counted since the pause. */
int kvm_pit_start(struct kvm *k, struct fail *why);

/* kvm_time.c */
void kvm_tsc_away(struct kvm_vcpu *v);                        /* before IA32_TSC is put */
int kvm_clock_fetch(struct kvm *k, struct fail *why);         /* into k->s.clock */
int kvm_clock_put(struct kvm *k, enum clock_policy policy, struct fail *why);
/* At a pause and at a resume: kvm-clock does not advance in between, and the guest's watchdogs are
 * notified. */
int kvm_clock_stop(struct kvm *k, struct fail *why);
int kvm_clock_start(struct kvm *k, struct fail *why);

/* Between the kvm_cpuid*.c: entries; features without what is not saved, and without those that
 * lack what they require, XSAVE's sizes to match; --cpu; CPUs as cores of one socket. */
struct machine_cpuid *kvm_cpuid_find(struct machine *m, uint32_t leaf,
				     uint32_t index);         /* NULL: none */
uint32_t *kvm_cpuid_reg(struct machine_cpuid *e, enum x86_reg reg);
void kvm_cpuid_strip(struct machine *m, bool tsc_deadline);
void kvm_cpuid_consistent(struct machine *m);
int kvm_cpuid_model(struct machine *m, const char *cpu, struct fail *why);
void kvm_cpuid_topology(struct machine *m);
void kvm_cpuid_apic_id(struct machine_cpuid *e, uint32_t id);      /* in one entry, for one vCPU */

int kvm_selftest(struct fail *why);                           /* kvm_selftest.c */

#endif
