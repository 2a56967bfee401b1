/* SPDX-License-Identifier: MIT */
#include "vmrun/runstate.h"

#include "vmrun/vm.h"

const char *const run_status_names[RUN_STATUSES] = {
	[RUN_PRELAUNCH]      = "prelaunch",
	[RUN_RUNNING]        = "running",
	[RUN_PAUSED]         = "paused",
	[RUN_INMIGRATE]      = "inmigrate",
	[RUN_POSTMIGRATE]    = "postmigrate",
	[RUN_FINISH_MIGRATE] = "finish-migrate",
	[RUN_SAVE_VM]        = "save-vm",
	[RUN_IO_ERROR]       = "io-error",
	[RUN_RESTORE_VM]     = "restore-vm",
	[RUN_SHUTDOWN]       = "shutdown",
	[RUN_GUEST_PANICKED] = "guest-panicked",
	[RUN_INTERNAL_ERROR] = "internal-error",
};

const char *const shutdown_cause_names[SHUTDOWN_CAUSES] = {
	[CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
	[CAUSE_GUEST_RESET]    = "guest-reset",
	[CAUSE_GUEST_PANIC]    = "guest-panic",
	[CAUSE_HOST_ERROR]     = "host-error",
	[CAUSE_HOST_QMP_QUIT]  = "host-qmp-quit",
	[CAUSE_HOST_SIGNAL]    = "host-signal",
	[CAUSE_HOST_UI]        = "host-ui",
};

/* The one rule of who may run. */
static bool runstate_may_run(const struct runstate *r)
{
	return r->holders == 0 && r->started && !r->ended;
}

int runstate_quiesce(struct vm *vm, struct fail *why)
{
	struct fail undo;

	if (!vm->run.cpus_running)
		return 0;
	if (vm->accel->ops->pause(vm->accel, why)) {
		vm->accel->ops->resume(vm->accel);     /* the vCPUs that did stop */
		return -1;
	}
	if (board_pause(vm->board, why)) {
		board_resume(vm->board, &undo);
		vm->accel->ops->resume(vm->accel);
		return -1;
	}
	clock_stop(&vm->clock);
	vm->run.cpus_running = false;
	return 0;
}

int runstate_end(struct vm *vm, struct fail *why)
{
	struct fail second;
	bool        cpus, devices;

	if (!vm->run.cpus_running)
		return 0;
	/* A vCPU that did not stop in time is not resumed: it stops when it can. */
	cpus    = vm->accel->ops->pause(vm->accel, why) == 0;
	devices = board_pause(vm->board, cpus ? why : &second) == 0;
	clock_stop(&vm->clock);
	vm->run.cpus_running = false;
	vm->run.stuck        = !cpus || !devices;
	return vm->run.stuck ? -1 : 0;
}

int runstate_apply(struct vm *vm, struct fail *why)
{
	if (!runstate_may_run(&vm->run))
		return runstate_quiesce(vm, why);
	if (vm->run.cpus_running)
		return 0;
	vm->disks_known = false;
	clock_start(&vm->clock);
	if (board_resume(vm->board, why)) {
		clock_stop(&vm->clock);
		return -1;
	}
	vm->run.cpus_running = vm->run.ran = true;
	vm->accel->ops->resume(vm->accel);
	return 0;
}

int runstate_hold(struct vm *vm, enum holder h, struct fail *why)
{
	bool was_running = vm->run.cpus_running, had = runstate_held_by(vm, h);

	vm->run.holders |= h;
	if (runstate_quiesce(vm, why)) {
		if (!had)
			vm->run.holders &= ~(unsigned)h;
		return -1;
	}
	/* The guest may have asked for a shutdown or reset just before it stopped: that happens
	 * before the pause, or the event would be lost to whoever loads the state. */
	if (was_running)
		vm_process_events(vm);
	if (vm->run.ended)
		return fail_set(why, FAIL_ENDED, "the VM has ended");
	if (was_running)
		vm_send_event(vm, "STOP", NULL);
	return 0;
}

int runstate_drop(struct vm *vm, enum holder h, struct fail *why)
{
	bool was_running = vm->run.cpus_running;

	vm->run.holders &= ~(unsigned)h;
	if (runstate_apply(vm, why))
		return -1;
	if (!was_running && vm->run.cpus_running)
		vm_send_event(vm, "RESUME", NULL);
	return 0;
}

bool runstate_held_by(const struct vm *vm, enum holder h)
{
	return (vm->run.holders & h) != 0;
}

enum run_status runstate_status(const struct vm *vm)
{
	const struct runstate *r = &vm->run;

	if (r->ended)
		return r->ended_as;
	if (r->holders & HOLD_RELEASED)
		return RUN_POSTMIGRATE;
	if (r->holders & HOLD_INCOMING)
		return RUN_INMIGRATE;
	if (r->holders & HOLD_RESTORE)
		return RUN_RESTORE_VM;
	if (r->holders & HOLD_MEMORY)
		return RUN_INTERNAL_ERROR;
	if (r->holders & HOLD_LEASE)
		return r->moving ? RUN_FINISH_MIGRATE : RUN_SAVE_VM;
	if (r->holders & HOLD_IO)
		return RUN_IO_ERROR;
	if (!r->started || (r->holders && !r->ran))
		return RUN_PRELAUNCH;
	return r->holders ? RUN_PAUSED : RUN_RUNNING;
}
