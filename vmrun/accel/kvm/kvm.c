/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* KVM as a backend: accel.h's functions, on what the other kvm_*.c do. */

/* A vCPU leaves KVM_RUN within microseconds; what takes longer is a device access on its thread.
 * accel.h promises 10 s. */
#define PAUSE_NS      10000000000u
/* Three pages that VMX needs to run real mode, and one for its page tables (KVM api.rst 4.36,
 * 4.40): where QEMU has them, below the ROMs, in no region. */
#define TSS_ADDR      0xfffbd000u
#define IDENTITY_ADDR 0xfffbc000u

static struct kvm *kvm_of(struct accel *a) { return (struct kvm *)(void *)a; }

/* Deadlines are on io_now_ns's clock: CLOCK_REALTIME may be set back. */
static void cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

static void kvm_close(struct accel *a)
{
	struct kvm *k = a ? kvm_of(a) : NULL;
	struct fail why;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->closing = k->held = true;
	atomic_store(&k->stop, true);
	pthread_cond_broadcast(&k->wake);
	pthread_cond_broadcast(&k->throttle_wake);
	/* Without limit: what is freed below must not be in use. */
	kvm_vcpus_quiesce(k, 0, &why);
	pthread_mutex_unlock(&k->lock);
	/* Before the vCPUs: its thread kicks them. */
	kvm_throttle_close(k);
	for (uint32_t i = 0; i < k->nvcpus; i++) {
		kvm_vcpu_close(&k->vcpus[i]);
		free(k->vcpus[i].power_on);
	}
	io_close(&k->fd);      /* the kernel frees slots, chips and eventfds with it */
	for (unsigned i = 0; i < LIMIT_REGIONS; i++)
		free(k->slots[i].map);
	io_close(&k->sys);
	pthread_cond_destroy(&k->throttle_wake);
	pthread_cond_destroy(&k->acks);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
	free(k->power_on);
	free(k->vcpus);
	free(k);
}

/* ---- open ---- */

/* State that KVM reports only when enabled, and that a save would lose otherwise. */
static int kvm_enable(struct kvm *k, struct fail *why)
{
	struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct kvm_enable_cap triple  = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = { 1 } };

	if (k->caps.exception_payload &&
	    kvm_call(k->fd, KVM_ENABLE_CAP, &payload, "KVM_ENABLE_CAP, exception payload", why) < 0)
		return -1;
	if (k->caps.triple_fault_event &&
	    kvm_call(k->fd, KVM_ENABLE_CAP, &triple, "KVM_ENABLE_CAP, triple fault event", why) < 0)
		return -1;
	return 0;
}

static int kvm_open_vm(struct kvm *k, struct fail *why)
{
	uint64_t identity = IDENTITY_ADDR;

	k->fd = kvm_call_n(k->sys, KVM_CREATE_VM, 0, "KVM_CREATE_VM", why);
	if (k->fd < 0 ||
	    kvm_call_n(k->fd, KVM_SET_TSS_ADDR, TSS_ADDR, "KVM_SET_TSS_ADDR", why) < 0 ||
	    kvm_call(k->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity, "KVM_SET_IDENTITY_MAP_ADDR",
		     why) < 0)
		return -1;
	return kvm_enable(k, why) || kvm_irq_open(k, why) || kvm_slots_open(k, why) ? -1 : 0;
}

/* All vCPUs before the first thread: KVM refuses CPUID and other settings once one has run. */
static int kvm_open_vcpus(struct kvm *k, struct fail *why)
{
	for (uint32_t i = 0; i < k->nvcpus; i++)
		if (kvm_vcpu_open(&k->vcpus[i], why) || kvm_cpuid_put(&k->vcpus[i], why))
			return -1;
	for (uint32_t i = 0; i < k->nvcpus; i++) {
		struct kvm_vcpu *v = &k->vcpus[i];

		if (kvm_cpu_fetch(v, why))
			return -1;
		v->power_on = malloc(sizeof(*v->power_on));
		if (!v->power_on)
			return fail_sys(why, "vCPU %" PRIu32, i);
		*v->power_on = v->s;
	}
	if (kvm_chips_fetch(k, why))
		return -1;
	k->power_on = malloc(sizeof(*k->power_on));
	if (!k->power_on)
		return fail_sys(why, "chips");
	*k->power_on = k->s;
	for (uint32_t i = 0; i < k->nvcpus; i++)
		if (kvm_vcpu_start(&k->vcpus[i], why))
			return -1;
	return kvm_throttle_open(k, why);
}

static struct kvm *kvm_new(struct vm *vm, struct fail *why)
{
	struct kvm *k = calloc(1, sizeof(*k));

	if (k)
		k->vcpus = calloc(vm->cfg.ncpus, sizeof(*k->vcpus));
	if (!k || !k->vcpus) {
		fail_sys(why, "KVM");
		free(k);
		return NULL;
	}
	k->a.ops  = &accel_kvm_ops;
	k->a.vm   = vm;
	k->sys    = k->fd = -1;
	k->nvcpus = vm->cfg.ncpus;
	k->held   = true;
	atomic_store(&k->stop, true);
	pthread_mutex_init(&k->lock, NULL);
	cond_init(&k->wake);
	cond_init(&k->acks);
	cond_init(&k->throttle_wake);
	for (uint32_t i = 0; i < k->nvcpus; i++) {
		k->vcpus[i].k  = k;
		k->vcpus[i].id = i;
		k->vcpus[i].fd = -1;
	}
	return k;
}

static int kvm_open(struct accel **out, struct vm *vm, struct fail *why)
{
	struct kvm *k;

	if (vm->cfg.ncpus == 0 || vm->cfg.ncpus > KVM_CPUS_MAX)
		return fail_set(why, FAIL_LIMIT,
				"KVM: number of CPUs out of range: %" PRIu32 " (valid: 1 to %u)",
				vm->cfg.ncpus, KVM_CPUS_MAX);
	k = kvm_new(vm, why);
	if (!k)
		return -1;
	if (kvm_caps_open(&k->sys, &k->caps, why))
		goto fail;
	if (k->nvcpus > (uint32_t)k->caps.vcpus_max) {
		fail_set(why, FAIL_LIMIT,
				"KVM: %" PRIu32 " CPUs exceed the limit of %d on this host",
				k->nvcpus, k->caps.vcpus_max);
		goto fail;
	}
	if (kvm_open_vm(k, why) || kvm_open_vcpus(k, why))
		goto fail;
	*out = &k->a;
	return 0;
fail:
	kvm_close(&k->a);
	return -1;
}

/* ---- resume and pause ---- */

static void kvm_resume(struct accel *a)
{
	struct kvm *k = kvm_of(a);
	struct fail why;

	/* Before the first vCPU runs. Not after a pause that has failed: no clock was stopped. */
	if (!k->running && kvm_clock_start(k, &why)) {
		kvm_vcpu_dead(&k->vcpus[0], "%.100s", why.what);
		return;
	}
	pthread_mutex_lock(&k->lock);
	k->running = true;
	k->held    = false;
	atomic_store(&k->stop, false);
	pthread_cond_broadcast(&k->wake);
	pthread_cond_signal(&k->throttle_wake);
	pthread_mutex_unlock(&k->lock);
}

static int kvm_pause(struct accel *a, struct fail *why)
{
	struct kvm *k = kvm_of(a);
	int         rc;

	pthread_mutex_lock(&k->lock);
	k->held = true;
	/* Before the kicks: a vCPU that is kicked looks at stop. */
	atomic_store(&k->stop, true);
	pthread_cond_broadcast(&k->wake);      /* ends the throttle's sleeps */
	rc = kvm_vcpus_quiesce(k, io_now_ns() + PAUSE_NS, why);
	pthread_mutex_unlock(&k->lock);
	/* Once for each resume: a second pause must not take later values. */
	if (rc == 0 && k->running) {
		rc = kvm_clock_stop(k, why);
		if (rc == 0)
			k->running = false;
	}
	return rc;
}

/* ---- state ---- */

static int kvm_sync_state(struct accel *a, struct fail *why)
{
	struct kvm *k = kvm_of(a);

	if (kvm_chips_fetch(k, why))
		return -1;
	for (uint32_t i = 0; i < k->nvcpus; i++)
		if (kvm_cpu_fetch(&k->vcpus[i], why))
			return -1;
	return 0;
}

/* Chips before vCPUs: an IOAPIC that is set may deliver interrupts to the local APICs, whose saved
 * state has them already and must be set after that. kvm-clock last: --clock=advance changes the
 * TSCs that were put with the vCPUs. */
static int kvm_put_all(struct kvm *k, enum clock_policy policy, struct fail *why)
{
	if (kvm_chips_put(k, why))
		return -1;
	for (uint32_t i = 0; i < k->nvcpus; i++)
		if (kvm_cpu_put(&k->vcpus[i], why))
			return -1;
	/* What they had asked for belongs to the state that was replaced. */
	pthread_mutex_lock(&k->lock);
	for (uint32_t i = 0; i < k->nvcpus; i++)
		k->vcpus[i].waits = false;
	pthread_mutex_unlock(&k->lock);
	return kvm_clock_put(k, policy, why);
}

static int kvm_reset(struct accel *a, const struct boot_entry *entry, struct fail *why)
{
	struct kvm *k = kvm_of(a);

	if (entry && entry->how != BOOT_X86_64 && entry->how != BOOT_X86_PVH)
		return fail_set(why, FAIL_REFUSED,
				"KVM: unsupported boot entry for an x86-64 vCPU");
	k->s = *k->power_on;
	for (uint32_t i = 0; i < k->nvcpus; i++)
		k->vcpus[i].s = *k->vcpus[i].power_on;
	if (entry)
		kvm_cpu_entry(&k->vcpus[0], entry);
	return kvm_put_all(k, CLOCK_FREEZE, why);
}

static const char *kvm_warning(struct accel *a, const struct boot_entry *entry)
{
	if (!kvm_of(a)->caps.interprets || !entry->is_linux)
		return NULL;
	return "KVM on this host (kvm_pvm) lacks instructions: Linux will not boot";
}

/* EINVAL is about the saved values, not a failure of the host: the exit status must say so. */
static int kvm_post_load(struct accel *a, enum clock_policy policy, struct fail *why)
{
	if (kvm_put_all(kvm_of(a), policy, why) == 0)
		return 0;
	if (why->kind == FAIL_SYSTEM && why->sys == EINVAL) {
		fail_prefix(why, "saved state malformed, or not supported by KVM on this host: ");
		why->kind = FAIL_REFUSED;
	}
	return -1;
}

/* Relaxed: vCPUs may be counting, and no two counters need to be of one instant. */
static uint64_t counter(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* Appends as many of list as fit; the new count. */
static size_t counters_add(struct accel_counter *out, size_t n, size_t max,
			   const struct accel_counter *list, size_t count)
{
	for (size_t i = 0; i < count && n < max; i++)
		out[n++] = list[i];
	return n;
}

static size_t kvm_counters(struct accel *a, uint32_t cpu, struct accel_counter *out, size_t max)
{
	struct kvm *k = kvm_of(a);
	size_t      n;

	if (cpu >= k->nvcpus)
		return 0;

	const struct kvm_vcpu     *v        = &k->vcpus[cpu];
	const struct accel_counter of_cpu[] = {
		{ "exits",      counter(&v->n_exits) },
		{ "mmio-exits", counter(&v->n_mmio)  },
		{ "port-exits", counter(&v->n_pio)   },
		{ "kicks",      counter(&v->n_kicks) },
	};
	/* What belongs to no vCPU is listed with the first one. */
	const struct accel_counter of_vm[] = {
		{ "log-syncs",   counter(&k->syncs)   },
		{ "log-sync-ns", counter(&k->sync_ns) },
	};

	n = counters_add(out, 0, max, of_cpu, sizeof(of_cpu) / sizeof(of_cpu[0]));
	if (cpu == 0)
		n = counters_add(out, n, max, of_vm, sizeof(of_vm) / sizeof(of_vm[0]));
	return n;
}

static int kvm_thread(const struct accel *a, uint32_t cpu)
{
	const struct kvm *k = (const struct kvm *)(const void *)a;

	return cpu < k->nvcpus ? atomic_load(&k->vcpus[cpu].tid) : 0;
}

const struct accel_ops accel_kvm_ops = {
	.name     = "kvm",
	.cpus_max = KVM_CPUS_MAX,
	.probe    = kvm_probe,
	.plan     = kvm_plan,
	.open     = kvm_open,
	.reset    = kvm_reset,
	.thread   = kvm_thread,
	.warning  = kvm_warning,
	.resume   = kvm_resume,
	.pause    = kvm_pause,
	.gsi      = kvm_gsi,
	.notify   = kvm_notify,
	.log      = kvm_log,
	.sync_dirty_log  = kvm_sync_dirty_log,
	.sync_state  = kvm_sync_state,
	.vm_sections = kvm_vm_sections,
	.sections    = kvm_cpu_sections,
	.post_load = kvm_post_load,
	.throttle = kvm_throttle,
	.counters = kvm_counters,
	.info     = kvm_info,
	.selftest = kvm_selftest,
	.close    = kvm_close,
};
