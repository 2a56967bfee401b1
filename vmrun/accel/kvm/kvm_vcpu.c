/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A vCPU's thread.
 *
 * It leaves its loop around KVM_RUN at one place only: where KVM_RUN has returned EINTR with
 * immediate_exit set. KVM completes an instruction that waits for the answer of a port or MMIO
 * access before it looks at immediate_exit (KVM api.rst 5, "immediate_exit"), so that a parked
 * thread is always between two instructions.
 *
 * A kick stores its reason (stop, nap), then sets immediate_exit, then sends a signal. The thread
 * clears immediate_exit, then reads the reasons. All of these are sequentially consistent, so that
 * a kick that comes during the clearing is either seen as a reason, or leaves immediate_exit set
 * for the next KVM_RUN. */

#define KICK_SIGNAL (SIGRTMIN + 3)
/* One kick is enough by these rules. A vCPU that does not stop is kicked again after this time all
 * the same: a kick that the host's kernel loses would otherwise cost the whole pause. */
#define KICK_NS     4000000u
/* No more than this of the time since the last sleep counts as time that the vCPU ran: after a
 * pause, or when the throttle was just set, a vCPU must not sleep for seconds. */
#define NAP_RAN_NS  10000000u
#define THROTTLE_NS 100000u          /* a percent of 10 ms */

static pthread_once_t kick_once = PTHREAD_ONCE_INIT;
static int            kick_errno;

/* Its only purpose is to interrupt KVM_RUN. */
static void kick_handler(int signal_number) { (void)signal_number; }

static void kick_install(void)
{
	struct sigaction act = { .sa_handler = kick_handler };      /* no SA_RESTART */

	kick_errno = sigaction(KICK_SIGNAL, &act, NULL) ? errno : 0;
}

static void kick_mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	pthread_sigmask(how, &set, NULL);
}

void kvm_vcpu_kick(struct kvm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (v->threaded)
		pthread_kill(v->thread, KICK_SIGNAL);
}

/* ---- the loop ---- */

static struct timespec ns_time(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

/* The throttle's sleep: so long that of the time since the last one, percent is slept. A pause and
 * the end of the throttle end it at once. */
static void vcpu_nap(struct kvm_vcpu *v)
{
	struct kvm  *k   = v->k;
	uint64_t     now = io_now_ns(), ran, until;

	pthread_mutex_lock(&k->lock);
	ran   = now - v->nap_end < NAP_RAN_NS ? now - v->nap_end : NAP_RAN_NS;
	until = now + ran * k->throttle / (100 - k->throttle);
	while (!k->held && !k->closing && k->throttle && io_now_ns() < until) {
		struct timespec ts = ns_time(until);

		pthread_cond_timedwait(&k->wake, &k->lock, &ts);
	}
	v->nap_end = io_now_ns();
	pthread_mutex_unlock(&k->lock);
}

/* Runs the guest until the thread has to park. */
static void vcpu_run(struct kvm_vcpu *v)
{
	bool stays = false;

	for (;;) {
		/* KVM completes the access that has ended the VM, and executes nothing more. */
		if (stays)
			__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (ioctl(v->fd, KVM_RUN, 0) == 0) {
			stays = !kvm_exit(v) || stays;
			continue;
		}
		if (errno == EINTR && __atomic_load_n(&v->run->immediate_exit, __ATOMIC_SEQ_CST)) {
			__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
			atomic_fetch_add_explicit(&v->n_kicks, 1, memory_order_relaxed);
			/* stop before nap: a pause does not wait for a sleep. */
			if (stays || atomic_load(&v->k->stop))
				return;
			if (atomic_exchange(&v->nap, false))
				vcpu_nap(v);
			continue;
		}
		/* Memory that is a file, of which KVM could not get a page; a memfd always has it.
		 * Broken memory of the host is told in two ways. */
		if ((errno == EFAULT || errno == EHWPOISON) && v->k->a.vm->memory.file) {
			memory_lose(&v->k->a.vm->memory);
			kvm_vcpu_wait(v);
			return;
		}
		if (errno != EINTR && errno != EAGAIN) {
			kvm_vcpu_dead(v, "KVM_RUN: %s", strerror(errno));
			return;
		}
	}
}

static void *vcpu_main(void *arg)
{
	struct kvm_vcpu *v = arg;
	struct kvm      *k = v->k;
	char             name[16];

	atomic_store(&v->tid, gettid());
	snprintf(name, sizeof(name), "cpu %u", v->id);
	pthread_setname_np(pthread_self(), name);
	/* Whatever the creating thread's mask was: a kick must interrupt KVM_RUN. */
	kick_mask(SIG_UNBLOCK);
	pthread_mutex_lock(&k->lock);
	while (!k->closing) {
		if (k->held || v->waits) {
			v->parked = true;
			pthread_cond_broadcast(&k->acks);
			pthread_cond_wait(&k->wake, &k->lock);
			continue;
		}
		v->parked = false;
		pthread_mutex_unlock(&k->lock);
		vcpu_run(v);
		pthread_mutex_lock(&k->lock);
	}
	v->parked = true;      /* kvm_close waits for it before it joins */
	pthread_cond_broadcast(&k->acks);
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

int kvm_vcpus_quiesce(struct kvm *k, uint64_t until_ns, struct fail *why)
{
	for (;;) {
		const uint64_t   now   = io_now_ns();
		struct timespec  ts    = ns_time(now + KICK_NS);
		struct kvm_vcpu *moves = NULL;

		for (uint32_t i = 0; i < k->nvcpus; i++)
			if (k->vcpus[i].threaded && !k->vcpus[i].parked) {
				moves = &k->vcpus[i];
				kvm_vcpu_kick(moves);
			}
		if (!moves)
			return 0;
		if (until_ns && now >= until_ns)
			return fail_set(why, FAIL_SYSTEM,
					"vCPU %" PRIu32 ": timed out waiting for it to stop",
					moves->id);
		pthread_cond_timedwait(&k->acks, &k->lock, &ts);
	}
}

/* ---- open and close ---- */

int kvm_vcpu_open(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm *k = v->k;
	char        what[48];
	void       *run;

	pthread_once(&kick_once, kick_install);
	if (kick_errno) {
		errno = kick_errno;
		return fail_sys(why, "vCPU %" PRIu32 ": sigaction", v->id);
	}
	snprintf(what, sizeof(what), "KVM_CREATE_VCPU, vCPU %" PRIu32, v->id);
	v->fd = kvm_call_n(k->fd, KVM_CREATE_VCPU, v->id, what, why);
	if (v->fd < 0)
		return -1;
	run = mmap(NULL, (size_t)k->caps.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return fail_sys(why, "vCPU %" PRIu32 ": map kvm_run", v->id);
	v->run = run;
	return 0;
}

int kvm_vcpu_start(struct kvm_vcpu *v, struct fail *why)
{
	errno = pthread_create(&v->thread, NULL, vcpu_main, v);
	if (errno)
		return fail_sys(why, "vCPU %" PRIu32 ": thread", v->id);
	v->threaded = true;
	return 0;
}

void kvm_vcpu_close(struct kvm_vcpu *v)
{
	if (v->threaded)
		pthread_join(v->thread, NULL);
	v->threaded = false;
	if (v->run)
		munmap(v->run, (size_t)v->k->caps.run_bytes);
	v->run = NULL;
	io_close(&v->fd);
}

/* ---- throttle ---- */

static void *throttle_main(void *arg)
{
	struct kvm *k = arg;

	pthread_setname_np(pthread_self(), "throttle");
	pthread_mutex_lock(&k->lock);
	while (!k->closing) {
		struct timespec ts;

		if (!k->throttle || k->held) {
			pthread_cond_wait(&k->throttle_wake, &k->lock);
			continue;
		}
		/* Each vCPU runs for (100 - throttle) percent of 10 ms, then sleeps. At least 5 %
		 * of that: kicks more often than each 0.5 ms would cost more than they slow. */
		ts = ns_time(io_now_ns() +
			     (k->throttle < 95 ? 100 - k->throttle : 5) * THROTTLE_NS);
		pthread_cond_timedwait(&k->throttle_wake, &k->lock, &ts);
		if (!k->throttle || k->held || k->closing)
			continue;
		for (uint32_t i = 0; i < k->nvcpus; i++) {
			atomic_store(&k->vcpus[i].nap, true);
			if (!k->vcpus[i].parked)
				kvm_vcpu_kick(&k->vcpus[i]);
		}
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

int kvm_throttle_open(struct kvm *k, struct fail *why)
{
	errno = pthread_create(&k->throttler, NULL, throttle_main, k);
	if (errno)
		return fail_sys(why, "throttle: thread");
	k->throttling = true;
	return 0;
}

void kvm_throttle_close(struct kvm *k)
{
	if (k->throttling)
		pthread_join(k->throttler, NULL);
	k->throttling = false;
}

void kvm_throttle(struct accel *a, unsigned percent)
{
	struct kvm *k = (struct kvm *)(void *)a;

	pthread_mutex_lock(&k->lock);
	k->throttle = percent > 99 ? 99 : percent;
	pthread_cond_signal(&k->throttle_wake);
	pthread_cond_broadcast(&k->wake);      /* ends the sleeps when it is 0 */
	pthread_mutex_unlock(&k->lock);
}
