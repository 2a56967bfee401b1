/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_RUNSTATE_H
#define VMRUN_RUNSTATE_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* Who may run the VM (docs/architecture.md). It runs if and only if its set of holders is empty, it
 * has been started, and it has not ended. Each holder adds and removes only itself, so that no two
 * reasons for a pause can undo each other. All under vm->control_lock. */

struct vm;

enum holder {
	HOLD_USER     = 1 << 0,     /* stop, --paused, --on-reboot=pause, a pending reset */
	HOLD_LEASE    = 1 << 1,     /* the pause of a save or move; ends with its lease */
	HOLD_INCOMING = 1 << 2,     /* being filled by a move; removed by its start only */
	HOLD_RELEASED = 1 << 3,     /* given away; removed by `vmmigrate resolve --own`, or by the
				     * peer that returns the VM */
	HOLD_IO       = 1 << 4,     /* the host has no space for a disk; removed by cont */
	HOLD_RESTORE  = 1 << 5,     /* being read from a snapshot */
	HOLD_MEMORY   = 1 << 6,     /* guest memory was lost; never removed */
};

/* QEMU's RunState words: query-status. */
enum run_status {
	RUN_PRELAUNCH, RUN_RUNNING, RUN_PAUSED, RUN_INMIGRATE, RUN_POSTMIGRATE,
	RUN_FINISH_MIGRATE, RUN_SAVE_VM, RUN_IO_ERROR, RUN_RESTORE_VM, RUN_SHUTDOWN,
	RUN_GUEST_PANICKED, RUN_INTERNAL_ERROR, RUN_STATUSES
};
extern const char *const run_status_names[RUN_STATUSES];

/* Why it ended: QEMU's ShutdownCause words, of the SHUTDOWN event. */
enum shutdown_cause {
	CAUSE_GUEST_SHUTDOWN, CAUSE_GUEST_RESET, CAUSE_GUEST_PANIC,
	CAUSE_HOST_ERROR, CAUSE_HOST_QMP_QUIT, CAUSE_HOST_SIGNAL, CAUSE_HOST_UI, SHUTDOWN_CAUSES
};
extern const char *const shutdown_cause_names[SHUTDOWN_CAUSES];

/* What vmrun exits with beside 0, the statuses of libcommon/fail.h, and 128 + a signal that ended
 * it: vmrun(1), EXIT STATUS. */
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
	bool            started;         /* by vm_start; nothing runs before */
	bool            ran;             /* here or before a save: prelaunch becomes paused */
	bool            moving;          /* HOLD_LEASE is a move's, else a save's */
	bool            cpus_running;    /* what accelerator and board were last told */
	bool            stuck;           /* a thread did not stop at the end: free nothing */
	bool            ended;           /* shutdown, panic, failed vCPU, moved; for good */
	enum run_status ended_as;
	int             exit_status;     /* once ended: 0, enum vm_exit, or fail_status */
};

/* Adds the holder. The first one stops vCPUs, then devices, then the clock, and sends STOP: devices
 * must still answer the access that a vCPU is in. -1: not paused, the holder is not added. */
int runstate_hold(struct vm *vm, enum holder h, struct fail *why);
/* Removes the holder. With the last one, clock, devices and vCPUs start, and RESUME is sent. */
int runstate_drop(struct vm *vm, enum holder h, struct fail *why);
/* Stops vCPUs, devices and clock without a holder and without events, for one operation under
 * control_lock (reset, pulse); runstate_apply then lets the VM run again if the rule above allows
 * it. Both idempotent. */
int runstate_quiesce(struct vm *vm, struct fail *why);
int runstate_apply(struct vm *vm, struct fail *why);
/* The VM's end: stops vCPUs, devices and clock, each whether or not the others stop; nothing runs
 * again. -1: one did not stop (stuck). */
int runstate_end(struct vm *vm, struct fail *why);
bool runstate_held_by(const struct vm *vm, enum holder h);
enum run_status runstate_status(const struct vm *vm);

#endif
