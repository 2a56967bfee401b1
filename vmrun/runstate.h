/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_RUNSTATE_H
#define VMRUN_RUNSTATE_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* Who may run the VM (design.md 3). It runs if and only if its set of pause holders is empty, it has been started, and it
 * has not ended. Each holder adds and removes only itself. All under vm->control_lock. */

struct vm;

enum holder {
	HOLD_USER     = 1 << 0,     /* stop/cont, --paused, a policy of pausing at reboot */
	HOLD_LEASE    = 1 << 1,     /* a logging lease's pause */
	HOLD_INCOMING = 1 << 2,     /* being filled; removed by start only */
	HOLD_IO       = 1 << 4,     /* the host has no space for a disk; removed by cont */
	HOLD_RELEASED = 1 << 3,     /* given away; removed by nothing but `vmmigrate resolve --own` or a RETURNED peer */
	HOLD_RESTORE  = 1 << 5,     /* being read from a snapshot */
};

/* QEMU's RunState words: query-status. */
enum run_status { RUN_PRELAUNCH, RUN_RUNNING, RUN_PAUSED, RUN_INMIGRATE, RUN_POSTMIGRATE, RUN_FINISH_MIGRATE, RUN_SAVE_VM,
		  RUN_IO_ERROR, RUN_RESTORE_VM, RUN_SHUTDOWN, RUN_GUEST_PANICKED, RUN_INTERNAL_ERROR, RUN_STATUSES };
extern const char *const run_status_names[RUN_STATUSES];

/* What vmrun exits with beside 0, the statuses of libcommon/fail.h, and 128 + a signal that ended it:
 * vmrun(1), EXIT STATUS. */
enum vm_exit {
	VM_EXIT_REBOOT     = 16,      /* --on-reboot=exit */
	VM_EXIT_PANIC      = 17,      /* of the guest */
	VM_EXIT_CPU_FAILED = 18,
	VM_EXIT_HIBERNATED = 19,
	VM_EXIT_MOVED      = 20,
	VM_EXIT_SIGNAL     = 128,     /* and its number */
};

struct runstate {
	unsigned        holders;         /* set of enum holder */
	bool            started;         /* vm_start was called: without it nothing runs, whoever holds or not */
	bool            ran;             /* it has run, here or before a save: tells prelaunch from paused */
	bool            moving;          /* a lease's pause is a move's (finish-migrate), else a save's (save-vm); set by who holds */
	bool            cpus_running;    /* what accel and board were last told */
	bool            stuck;           /* did not stop at its end: nothing of it may be freed */
	bool            ended;           /* shutdown, panic, dead hart, moved: never runs again */
	enum run_status ended_as;
	int             exit_status;     /* once ended: 0, enum vm_exit, or fail_status */
};

/* Adds the holder; when it is the first, stops vCPUs, then devices, then the clock, and sends STOP. */
int runstate_hold(struct vm *vm, enum holder h, struct fail *why);
/* Removes the holder; when none is left, starts clock, devices, vCPUs, and sends RESUME. */
int runstate_drop(struct vm *vm, enum holder h, struct fail *why);
/* Stops vCPUs, devices and clock without a holder and without events, for the length of one operation under control_lock
 * (reset, pulse); runstate_apply then makes it run again if nothing speaks against it. Both idempotent. */
int runstate_quiesce(struct vm *vm, struct fail *why);
int runstate_apply(struct vm *vm, struct fail *why);
/* The VM's end: stops vCPUs, devices and clock, each whatever the others do; nothing runs again.
 * -1: one did not (stuck). */
int runstate_end(struct vm *vm, struct fail *why);
bool runstate_held_by(const struct vm *vm, enum holder h);
enum run_status runstate_status(const struct vm *vm);

#endif
