/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <inttypes.h>

/* A guest's time across a pause, a save and a load.
 *
 *   kvm-clock   does not advance between a pause and the resume after it, whatever happens in
 *               between
 *   IA32_TSC    advances over a plain pause and resume, as on a machine that is in an SMI; saved
 *               is its value at the pause; a load sets that, and it advances from there
 *   timers      the APIC's saved count is that of the pause, and after a load the rest of it runs;
 *               TSC deadlines follow the TSC; after a pause the PIT catches up one tick at most
 *
 * --clock=advance adds the real time between the save (node "clock", realtime_ns) and the load to
 * kvm-clock and TSC alike.
 *
 * A KVM that cannot set a TSC (kvm_pvm, whose guests read the host's) accepts the writes without
 * effect: there the TSC advances as if nothing had been loaded.
 *
 * What a save takes is frozen while the VM is paused: the values of the pause, or those that were
 * loaded since. So two saves of one pause are equal, also with a load of the first between them. */

/* Current count of the timer (Intel SDM 3A, "Local APIC Register Address Map"). */
#define LAPIC_TMCCT 0x390u

/* KVM takes a TSC that is written within a second of the one it expects as an attempt to
 * synchronise vCPUs, and gives the vCPU the offset of the one before. That is right for vCPUs
 * whose TSCs were read microseconds apart. But the first one must get the value that is written,
 * not one that follows from how long the VM exists on this host: so a value an hour away is
 * written first. */
void kvm_tsc_away(struct kvm_vcpu *v)
{
	const uint64_t *tsc = kvm_msr_saved(&v->s.msrs, MSR_TSC);

	if (v->id == 0 && tsc)
		kvm_msr_set(v->fd, MSR_TSC, *tsc + 3600 * v->k->a.vm->cfg.timebase_hz);
}

int kvm_clock_stop(struct kvm *k, struct fail *why)
{
	if (kvm_call(k->fd, KVM_GET_CLOCK, &k->stopped_at, "KVM_GET_CLOCK", why) < 0)
		return -1;
	k->stopped_ns    = io_now_ns();
	k->clock_stopped = true;
	k->pit_loaded    = false;
	for (uint32_t i = 0; i < k->nvcpus; i++) {
		struct kvm_vcpu       *v = &k->vcpus[i];
		struct kvm_lapic_state apic;

		if (kvm_call(v->fd, KVM_GET_LAPIC, &apic, "KVM_GET_LAPIC", why) < 0)
			return -1;
		v->frozen = (struct kvm_frozen){
			.valid = true,
			.tmcct = get_le32((const uint8_t *)apic.regs + LAPIC_TMCCT),
		};
		if (!kvm_msr_get(v->fd, MSR_TSC, &v->frozen.tsc))
			return fail_sys(why, "KVM_GET_MSRS, vCPU %" PRIu32 ": IA32_TSC", i);
	}
	return 0;
}

int kvm_clock_start(struct kvm *k, struct fail *why)
{
	struct kvm_clock_data set = { .clock = k->stopped_at.clock };

	if (k->clock_stopped && kvm_pit_start(k, why))
		return -1;
	if (k->clock_stopped && kvm_call(k->fd, KVM_SET_CLOCK, &set, "KVM_SET_CLOCK", why) < 0)
		return -1;
	k->clock_stopped = k->pit_loaded = false;
	for (uint32_t i = 0; i < k->nvcpus; i++) {
		k->vcpus[i].frozen.valid = false;
		/* Tells the guest's soft lockup watchdog; EINVAL when it does not use kvm-clock. */
		if (k->caps.kvmclock_ctrl)
			kvm_call_n(k->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0, NULL, NULL);
	}
	return 0;
}

int kvm_clock_fetch(struct kvm *k, struct fail *why)
{
	struct kvm_clock_data now = k->stopped_at;

	if (!k->clock_stopped && kvm_call(k->fd, KVM_GET_CLOCK, &now, "KVM_GET_CLOCK", why) < 0)
		return -1;
	k->s.clock.clock_ns = now.clock & INT64_MAX;
	return 0;
}

/* Nanoseconds to ticks of the TSC; 128 bits, because 64 overflow after seconds. */
static uint64_t tsc_ticks(uint64_t ns, uint64_t hz)
{
	return (uint64_t)((unsigned __int128)ns * hz / 1000000000u);
}

/* Advances the TSC that a load has just put, and sets the deadline again, which follows it. */
static int tsc_advance(struct kvm_vcpu *v, uint64_t ticks, struct fail *why)
{
	uint64_t *tsc = kvm_msr_saved(&v->s.msrs, MSR_TSC);

	if (!tsc || !ticks)
		return 0;
	*tsc += ticks;
	kvm_tsc_away(v);
	if (!kvm_msr_set(v->fd, MSR_TSC, *tsc))
		return fail_set(why, FAIL_REFUSED,
				"vCPU %" PRIu32 ": cannot set IA32_TSC on this host", v->id);
	v->frozen.tsc = *tsc;
	return kvm_msrs_put_deadline(v, why);
}

int kvm_clock_put(struct kvm *k, enum clock_policy policy, struct fail *why)
{
	const struct vm      *vm   = k->a.vm;
	const uint64_t        then = vm->clock_section.realtime_ns, now = io_realtime_ns();
	const uint64_t        gone = policy == CLOCK_ADVANCE && now > then ? now - then : 0;
	struct kvm_clock_data set  = { .clock = k->s.clock.clock_ns + gone };

	for (uint32_t i = 0; i < k->nvcpus; i++)
		if (tsc_advance(&k->vcpus[i], tsc_ticks(gone, vm->cfg.timebase_hz), why))
			return -1;
	if (kvm_call(k->fd, KVM_SET_CLOCK, &set, "KVM_SET_CLOCK", why) < 0)
		return -1;
	k->s.clock.clock_ns = set.clock;
	k->stopped_at       = set;
	k->clock_stopped    = true;
	return 0;
}
