/* SPDX-License-Identifier: MIT */
#include "tests/unit/kvm_rig.h"

#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pause and resume of vCPUs that are busy, halted and in a device access; they stay paused;
 * throttle; close. */

#define PAUSES 200

static const struct accel_ops *const ops = &accel_kvm_ops;

GUEST(busy, "1: inc %r12\n mov %r12, (%rdi)\n jmp 1b\n");
GUEST(halts, "cli\n1: hlt\n jmp 1b\n");
/* Each turn one load from rsi, in r12. The load is 3 bytes from the start, add and inc 3 each. */
GUEST(reads, "1: mov (%rsi), %rax\n add %rax, %r13\n inc %r12\n jmp 1b\n");
/* As above, by rep insb of 4 bytes: r12 counts whole strings. */
GUEST(strings,
	"mov $0x500, %edx\n cld\n1: mov %rsi, %rdi\n mov $4, %ecx\n rep insb\n inc %r12\n jmp "
	"1b\n");

static void start(struct rig *g, const uint8_t *code, const uint8_t *end, const uint8_t *code1,
		  const uint8_t *end1)
{
	rig_reset(g);
	rig_load(g, 0, code, end, RIG_DATA, RIG_MMIO, 0);
	if (code1)
		rig_load(g, 1, code1, end1, RIG_DATA + 0x1000, RIG_MMIO, 0);
	rig_post_load(g);
}

static void test_still(struct rig *g)
{
	struct kvm_mp_state mp = { 0 };
	struct kvm_regs     regs;
	struct fail         why;
	uint64_t            before = 0, worst = 0;
	unsigned            good = 0, moved = 0;

	start(g, busy, busy_end, halts, halts_end);
	for (unsigned i = 0; i < PAUSES; i++) {
		uint64_t at;

		ops->resume(g->vm.accel);
		if (i % 4)
			rig_nap(200 * (i % 7));
		at = io_now_ns();
		if (ops->pause(g->vm.accel, &why))
			break;
		at    = io_now_ns() - at;
		worst = at > worst ? at : worst;
		rig_regs(g, 0, &regs);
		/* the counter is stored by the next instruction, or has been */
		if ((rig_get(g, RIG_DATA) == regs.r12 || rig_get(g, RIG_DATA) + 1 == regs.r12) &&
		    regs.r12 >= before)
			good++;
		moved += regs.r12 > before;
		before = regs.r12;
	}
	note("%u pauses, the longest %llu us, the guest moved in %u", good,
	     (unsigned long long)worst / 1000, moved);
	ok(good == PAUSES,
	   "200 pauses of a busy and a halted vCPU find both between two instructions");
	ok(moved > PAUSES / 2, "and it moves in between");
	kvm_call(g->k->vcpus[1].fd, KVM_GET_MP_STATE, &mp, "KVM_GET_MP_STATE", &why);
	ok(mp.mp_state == KVM_MP_STATE_HALTED, "the halted one is halted");
	rig_nap(20000);
	rig_regs(g, 0, &regs);
	ok(regs.r12 == before, "paused, it executes nothing");
	ok(ops->pause(g->vm.accel, &why) == 0, "a second pause is nothing");
	ops->resume(g->vm.accel);
	ops->resume(g->vm.accel);
	rig_nap(20000);
	rig_pause(g);
	rig_regs(g, 0, &regs);
	ok(regs.r12 > before, "a second resume neither");
}

/* A pause between the exit and the instruction's end would have the access done twice, or its
 * answer lost. */
static void test_midway(struct rig *g)
{
	struct fail     why;
	struct kvm_regs regs;
	unsigned        wrong = 0, done = 0;

	start(g, reads, reads_end, NULL, NULL);
	for (unsigned i = 0; i < PAUSES; i++, done++) {
		ops->resume(g->vm.accel);
		rig_nap(50 + 37 * (i % 11));
		rig_pause(g);
		rig_regs(g, 0, &regs);
		uint64_t at = regs.rip - RIG_CODE;
		uint64_t loads = regs.r12 + (at == 3 || at == 6);
		uint64_t added = regs.r12 + (at == 6);

		wrong += loads != g->n || (regs.r13 != added * 0x8877665544332211);
		/* through the saved state and back */
		if (ops->sync_state(g->vm.accel, &why) ||
		    ops->post_load(g->vm.accel, CLOCK_FREEZE, &why))
			break;
	}
	note("%u loads", (unsigned)g->n);
	ok(done == PAUSES && wrong == 0 && g->n > PAUSES,
	   "an access that was begun is complete at a pause: done once, its answer kept");
}

static void test_string(struct rig *g)
{
	struct fail     why;
	struct kvm_regs regs;
	unsigned        wrong = 0, done = 0;

	rig_reset(g);
	rig_load(g, 0, strings, strings_end, 0, RIG_DATA, 0);
	rig_post_load(g);
	for (unsigned i = 0; i < PAUSES; i++, done++) {
		ops->resume(g->vm.accel);
		rig_nap(50 + 37 * (i % 11));
		rig_pause(g);
		rig_regs(g, 0, &regs);
		/* At 14, the string instruction: rcx of its 4 are to come. */
		uint64_t at = regs.rip - RIG_CODE, bytes = regs.r12 * 4;

		if (at == 14)
			bytes += 4 - regs.rcx;
		else if (at == 16)
			bytes += 4;
		wrong += bytes != g->n;
		if (ops->sync_state(g->vm.accel, &why) ||
		    ops->post_load(g->vm.accel, CLOCK_FREEZE, &why))
			break;
	}
	note("%u bytes", (unsigned)g->n);
	ok(done == PAUSES && wrong == 0 && g->n > PAUSES, "string input likewise");
}

/* ---- one that does not stop ---- */

GUEST(waits, "mov $0x500, %edx\n out %al, %dx\n" GUEST_DONE);

static void test_stuck(struct rig *g)
{
	struct fail why;

	start(g, busy, busy_end, waits, waits_end);
	pthread_mutex_lock(&g->vm.machine_lock);      /* the device is busy for long */
	g->block = 0x500;
	ops->resume(g->vm.accel);
	while (!atomic_load(&g->n))
		rig_nap(100);
	pthread_mutex_lock(&g->k->lock);
	g->k->held = true;
	atomic_store(&g->k->stop, true);
	ok(kvm_vcpus_quiesce(g->k, io_now_ns() + 50000000, &why) &&
	   strstr(why.what, "vCPU 1: timed out waiting for it to stop"),
	   "a vCPU that does not stop is named");
	pthread_mutex_unlock(&g->k->lock);
	ops->resume(g->vm.accel);
	pthread_mutex_unlock(&g->vm.machine_lock);
	g->block = 0;
	ok(rig_wait(g, RIG_DONE, 1), "and continues with the others after a resume");
	rig_pause(g);
}

/* ---- throttle ---- */

static uint64_t speed(struct rig *g)
{
	struct kvm_regs a, b;

	rig_regs(g, 0, &a);
	ops->resume(g->vm.accel);
	rig_nap(300000);
	rig_pause(g);
	rig_regs(g, 0, &b);
	return b.r12 - a.r12;
}

static void test_throttle(struct rig *g)
{
	uint64_t full, slow, again;

	start(g, busy, busy_end, NULL, NULL);
	full = speed(g);
	ops->throttle(g->vm.accel, 90);
	slow = speed(g);
	ops->throttle(g->vm.accel, 0);
	again = speed(g);
	note("turns in 300 ms: %llu, throttled %llu, again %llu", (unsigned long long)full,
	     (unsigned long long)slow,
	     (unsigned long long)again);
	ok(slow > 0 && slow < full / 2,
	   "throttled by 90 percent it runs, at less than half of its speed");
	ok(again > slow * 2, "and at full speed when the throttle is off");
}

static void test_counters(struct rig *g)
{
	struct accel_counter c[8];
	size_t               n = ops->counters(g->vm.accel, 0, c, 8);

	ok(n == 6 && !strcmp(c[0].name, "exits") && c[0].value > 0 &&
	   ops->counters(g->vm.accel, 0, c, 2) == 2 &&
	   ops->counters(g->vm.accel, 1, c, 8) == 4 &&
	   ops->counters(g->vm.accel, 2, c, 8) == 0,
	   "counters: of each vCPU, the VM's with the first");
}

int main(void)
{
	static struct rig g;

	rig_need_kvm();
	rig_must_open(&g, 2);
	test_still(&g);
	test_midway(&g);
	test_string(&g);
	test_stuck(&g);
	test_throttle(&g);
	test_counters(&g);
	ops->resume(g.vm.accel);
	rig_close(&g);
	ok(true, "a running VM can be closed");
	return done_testing();
}
