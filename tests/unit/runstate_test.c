/* SPDX-License-Identifier: MIT */
/* Who may run the VM: it runs exactly while nobody holds it, it has been started, and it has not
 * ended. */
#include "tests/unit/core_fake.h"
#include "tests/unit/tap.h"

#include <stdio.h>

static void start(struct vm *vm)
{
	struct fail why;

	core_fake_open(vm, 4);
	vm->run.started = true;
	runstate_apply(vm, &why);
	core_fake.calls[0] = '\0';
}

/* Every set of holders, entered and left in every order of two: it runs only with none of them. */
static bool all_pairs(void)
{
	static const enum holder holders[] = { HOLD_USER, HOLD_LEASE, HOLD_INCOMING,
					       HOLD_RELEASED };
	struct vm   vm;
	struct fail why;
	bool        good = true;

	for (int a = 0; a < 4; a++)
		for (int b = 0; b < 4; b++) {
			start(&vm);
			good = good && runstate_hold(&vm, holders[a], &why) == 0 &&
			       runstate_hold(&vm, holders[b], &why) == 0;
			good = good && !vm.run.cpus_running && runstate_held_by(&vm, holders[a]) &&
			       runstate_held_by(&vm, holders[b]);
			good = good && runstate_drop(&vm, holders[a], &why) == 0 &&
			       vm.run.cpus_running == (a == b);
			good = good && runstate_drop(&vm, holders[b], &why) == 0 &&
			       vm.run.cpus_running;
			core_fake_close(&vm);
		}
	return good;
}

static bool status_words(void)
{
	struct vm vm;
	bool      good;

	start(&vm);
	good = runstate_status(&vm) == RUN_RUNNING;
	vm.run.holders = HOLD_USER;
	good = good && runstate_status(&vm) == RUN_PAUSED;
	vm.run.ran = false;
	good = good && runstate_status(&vm) == RUN_PRELAUNCH;
	vm.run.holders = HOLD_USER | HOLD_LEASE;
	good = good && runstate_status(&vm) == RUN_SAVE_VM;
	vm.run.moving = true;
	good = good && runstate_status(&vm) == RUN_FINISH_MIGRATE;
	vm.run.holders = HOLD_USER | HOLD_INCOMING;
	good = good && runstate_status(&vm) == RUN_INMIGRATE;
	vm.run.holders = HOLD_USER | HOLD_LEASE | HOLD_RELEASED;
	good = good && runstate_status(&vm) == RUN_POSTMIGRATE;
	vm.run.ended    = true;
	vm.run.ended_as = RUN_GUEST_PANICKED;
	good = good && runstate_status(&vm) == RUN_GUEST_PANICKED;
	core_fake_close(&vm);
	return good;
}

int main(void)
{
	struct vm   vm;
	struct fail why = { 0 };

	core_fake_open(&vm, 4);
	ok(runstate_status(&vm) == RUN_PRELAUNCH && runstate_drop(&vm, HOLD_USER, &why) == 0 &&
	   core_fake_called(""),
	   "a VM that was not started does not run when nobody holds it");
	core_fake_close(&vm);

	start(&vm);
	ok(runstate_hold(&vm, HOLD_USER, &why) == 0 && core_fake_called("pause board_pause STOP"),
	   "a pause stops vCPUs, then devices, then says so");
	ok(!vm.clock.running && clock_now_ns(&vm.clock) == clock_now_ns(&vm.clock),
	   "and the guest's clock stops");
	ok(runstate_hold(&vm, HOLD_LEASE, &why) == 0 && core_fake_called(""),
	   "a second holder stops nothing twice");
	ok(runstate_drop(&vm, HOLD_USER, &why) == 0 && core_fake_called("") && !vm.run.cpus_running,
	   "cont while a lease holds leaves it paused");
	ok(runstate_drop(&vm, HOLD_LEASE, &why) == 0 &&
	   core_fake_called("board_resume resume RESUME") && vm.clock.running,
	   "the last holder's leaving starts devices, then vCPUs");
	core_fake.fail_pause = true;
	ok(runstate_hold(&vm, HOLD_LEASE, &why) == -1 && !runstate_held_by(&vm, HOLD_LEASE) &&
	   vm.run.cpus_running &&
	   core_fake_called("pause resume"),
	   "a vCPU that does not stop: refused, nobody holds, all run on");
	core_fake.fail_pause       = false;
	core_fake.fail_board_pause = true;
	ok(runstate_hold(&vm, HOLD_LEASE, &why) == -1 && vm.run.cpus_running && vm.clock.running &&
	   core_fake_called("pause board_pause board_resume resume"),
	   "a device that does not stop: the same");
	core_fake.fail_board_pause = false;
	ok(runstate_quiesce(&vm, &why) == 0 && core_fake_called("pause board_pause") &&
	   runstate_apply(&vm, &why) == 0 &&
	   core_fake_called("board_resume resume"), "quiescing for one operation sends no events");
	runstate_hold(&vm, HOLD_USER, &why);
	core_fake_called("pause board_pause STOP");
	core_fake.fail_board_resume = true;
	ok(runstate_drop(&vm, HOLD_USER, &why) == -1 && !vm.run.cpus_running && !vm.clock.running &&
	   core_fake_called("board_resume"),
	   "devices that do not start: told, and no vCPU runs without them");
	core_fake.fail_board_resume = false;
	ok(runstate_drop(&vm, HOLD_USER, &why) == 0 && vm.run.cpus_running,
	   "cont may be tried again");
	core_fake_close(&vm);

	start(&vm);
	core_fake.ends_at_pause = true;
	ok(runstate_hold(&vm, HOLD_LEASE, &why) == -1 && why.kind == FAIL_ENDED,
	   "a guest that powers off under the pause: the pauser is told");
	core_fake.calls[0] = '\0';
	ok(runstate_drop(&vm, HOLD_LEASE, &why) == 0 && !vm.run.cpus_running &&
	   core_fake_called(""), "an ended VM never runs again");
	core_fake_close(&vm);

	start(&vm);
	core_fake.fail_board_pause = true;
	vm.run.ended = true;
	ok(runstate_end(&vm, &why) == -1 && !vm.run.cpus_running && !vm.clock.running &&
		   vm.run.stuck && core_fake_called("pause board_pause"),
	   "an end: a device that does not stop keeps no vCPU running");
	ok(runstate_end(&vm, &why) == 0 && runstate_apply(&vm, &why) == 0 && core_fake_called(""),
	   "and nothing resumes them");
	core_fake_close(&vm);
	start(&vm);
	core_fake.fail_pause = true;
	vm.run.ended = true;
	ok(runstate_end(&vm, &why) == -1 && vm.run.stuck && core_fake_called("pause board_pause"),
	   "nor does a vCPU that does not stop: the devices are quieted, and what may still be in "
	   "use is known");
	core_fake_close(&vm);

	start(&vm);
	runstate_hold(&vm, HOLD_LEASE, &why);
	runstate_hold(&vm, HOLD_RELEASED, &why);
	core_fake.calls[0] = '\0';
	runstate_drop(&vm, HOLD_LEASE, &why);
	runstate_drop(&vm, HOLD_USER, &why);
	ok(!vm.run.cpus_running && core_fake_called("") && runstate_status(&vm) == RUN_POSTMIGRATE,
	   "after release neither a lost lease nor cont resumes it");
	core_fake_close(&vm);

	ok(all_pairs(), "each holder adds and removes only itself, in any order of two");
	ok(status_words(), "query-status has QEMU's words, the strongest holder first");
	core_fake_open(&vm, 4);
	vm.run.holders = HOLD_INCOMING;
	vm.run.started = true;
	ok(runstate_apply(&vm, &why) == 0 && !vm.run.cpus_running &&
	   runstate_drop(&vm, HOLD_USER, &why) == 0 && !vm.run.cpus_running,
	   "an incoming VM does not run before its holder is gone");
	core_fake_close(&vm);
	return done_testing();
}
