/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_VM_H
#define VMRUN_VM_H

#include "format/tree/machine.h"
#include "vmrun/accel/accel.h"
#include "vmrun/board/board.h"
#include "vmrun/clock.h"
#include "vmrun/dirty.h"
#include "vmrun/host/loop.h"
#include "vmrun/memory.h"
#include "vmrun/runstate.h"
#include "vmrun/vm_event.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* One VM: everything there is to be saved, and who may touch it.
 *
 * control_lock run state, leases, epochs, save and load; taken by the main thread (QMP, guest
 * requests) and by lease
 *               threads. Held over whole operations such as a pause, but not
 *               while a disk is flushed for one. Never taken by vCPU or device threads.
 * machine_lock device state; taken by vCPUs inside board_mmio_*, by device threads and chardev
 * callbacks. Short. Order: control_lock before machine_lock. */

struct control_server;
struct json_t;
struct restoring;

struct vm {
	struct machine   cfg;
	struct memory    memory;
	struct vm_clock  clock;
	struct accel    *accel;
	struct board    *board;
	struct loop     *loop;
	struct device_host device_host;        /* what board and devices may use of it */
	struct runstate  run;
	struct control_server *control;        /* of vmrun/control alone; NULL: no server */
	/* Set by control before the VM starts, NULL in unit tests: see vm_send_event. */
	void           (*on_event)(struct vm *vm, const char *name, struct json_t *data);

	struct boot_images images;             /* for resets; kernel NULL: not at hand (images.h) */
	/* The guest waits for one (vm_reset.c); held by the user. */
	bool               reset_pending;
	enum clock_policy  clock_policy;       /* at the next load */
	/* What is saved of the clock, filled at each save. */
	struct clock_state clock_section;
	/* restore.c: the thread that reads its snapshot; NULL: none. */
	struct restoring  *restoring;
	/* As the tree that came in has it, before overrides, with the disks' fingerprints once
	 * state is loaded; NULL when booted here. */
	struct machine    *recorded;
	/* --disk-changed=accept, at the next of the checks below. */
	bool               disk_changed_ok;
	/* cfg.hosts has the disks' fingerprints of this pause. */
	bool               disks_known;
	struct accel_want  want;               /* of the CPU, at open and at loads */

	struct dirty_log       dirty;

	pthread_mutex_t  control_lock;
	pthread_mutex_t  machine_lock;

	/* Set of 1 << enum vm_event, taken by the main loop. */
	_Atomic uint32_t events;
	int              event_fd;             /* eventfd behind it */
	struct loop_watch *event_watch;
	char             panic_text[128];
	/* Behind VM_EVENT_HOST_SIGNAL: 128 + it is the exit status. */
	int              host_signal;
	/* Of the last boot, for main to say before it starts; NULL: nothing. */
	const char      *warning;
	/* What main says on stderr when the VM has ended; kind FAIL_NONE: nothing. */
	struct fail      end_why;
};

/* Posts an event; any thread, any lock held. */
void vm_event(struct vm *vm, enum vm_event e);
/* Records why the guest ends, unless a cause is recorded already, and posts VM_EVENT_PANIC. With
 * the machine lock. */
void vm_panic(struct vm *vm, const char *text);

/* An event for management clients: name as QEMU has it ("STOP"), data stolen, NULL for none. Any
 * thread, any lock held. Without a listener (on_event) the data is only freed. */
void vm_send_event(struct vm *vm, const char *name, struct json_t *data);

/* Under control_lock: does what was asked for by vm_event. By main's loop, and by runstate_hold
 * once the vCPUs stand, so that a wish of the guest's is never left outside of what is saved. */
void vm_process_events(struct vm *vm);
/* The vCPUs stand and were reset: resets that they asked for before, and their deaths, are past. */
void vm_events_void(struct vm *vm);

/* Machine from cfg: memory, accelerator, board. Held by nobody but not yet started: see vm_start.
 * Threads it starts have SIGINT, SIGTERM and SIGHUP blocked. */
int vm_open(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
	    const struct accel_want *want, struct loop *loop, struct fail *why);
/* The same for a VM that is to be filled: HOLD_INCOMING, disks deferred. */
int vm_open_incoming(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
		     const struct accel_want *want, struct loop *loop, struct fail *why);
/* Stops vCPUs and devices and frees everything; frees nothing when one of them does not stop
 * (runstate.stuck): the process is about to end. */
void vm_close(struct vm *vm);
/* Main thread, after the VM has ended: flushes its disks, for a minute at most. */
int vm_flush(struct vm *vm, struct fail *why);
/* Under control_lock, once memory and state are there: from now on it runs unless somebody holds
 * it. LEASE_START: board_own, vm_disks_check, record, runstate_drop(HOLD_INCOMING), vm_start. */
int vm_start(struct vm *vm, struct fail *why);
/* After board_own(true): are the disks as the loaded tree records them? FAIL_REFUSED names those
 * that have moved on. */
int vm_disks_check(struct vm *vm, struct fail *why);
/* Behind VM_EVENT_NO_SPACE: BLOCK_IO_ERROR for each disk that stalls, and the holder HOLD_IO. */
void vm_disks_full(struct vm *vm);
/* RELEASE: fingerprints, when STATE has not taken them in this pause. */
int vm_disks_known(struct vm *vm, struct fail *why);
/* RETAKE, after board_own(true): are the disks as they were released? FAIL_REFUSED names those that
 * have changed. */
int vm_disks_retaken(struct vm *vm, struct fail *why);

/* power-on state, images loaded; does not run. */
int vm_boot(struct vm *vm, struct fail *why);
/* vm_reset.c, under control_lock: held, reset, booted, goes on as it was; sends RESET. -1 without
 * kernel or initrd at hand: nothing has happened then. When what is at hand does not boot, the
 * reset is pending. */
int vm_reset(struct vm *vm, struct fail *why);
/* The guest's wish, as --on-reboot has it. What can't be done is pending: VMFERRY_RESET_PENDING,
 * and the user holds the VM. */
void vm_reset_asked(struct vm *vm);
/* Does a reset that is pending, if any; the VM stays held. -1: it is still pending. */
int vm_reset_pending(struct vm *vm, struct fail *why);

/* The VM tree with state, malloc'd; vCPUs and devices must be paused. Never changes the VM. The
 * fingerprints of disks are those in cfg (blk_sampled). */
int vm_save(struct vm *vm, uint8_t **fdt, size_t *len, struct fail *why);
/* All or nothing as far as running goes: after a failure the VM must not be started. RAM is loaded
 * by others before. */
int vm_load(struct vm *vm, const void *fdt, size_t len, struct fail *why);
/* pause, save, reset all, load, save, compare; twice. A failure names device and field. Under
 * control_lock. */
int vm_pulse(struct vm *vm, struct fail *why);

/* For vm_pulse: a tree of this VM's own, just saved, back into it; and what follows when parts were
 * put into place. */
int vm_reload(struct vm *vm, const void *fdt, size_t len, struct fail *why);
int vm_post_load(struct vm *vm, enum clock_policy policy, struct fail *why);

/* Main thread, before vm_start: from now on SIGINT, SIGTERM and SIGHUP wait for vm_run, and end the
 * VM in order. */
void vm_signals_block(void);
/* Main thread: runs the loop until the VM has ended. Returns the exit status of design.md 10, or -1
 * with *why. */
int vm_run(struct vm *vm, struct fail *why);
/* Under control_lock: the VM ends here; main's loop stops; clients get SHUTDOWN. */
void vm_end(struct vm *vm, enum run_status as, int exit_status,
	    enum shutdown_cause cause);

#endif
