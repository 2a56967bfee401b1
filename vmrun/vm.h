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

/* One VM: everything that is saved, and who may touch it.
 *
 * control_lock   run state, lease sessions, epochs, save and load, kernel and initrd. Taken by the
 *                main thread (QMP, requests of the guest) and by lease sessions, for a whole
 *                operation such as a pause; not while a disk is flushed, because that can take as
 *                long as the host's disk likes and every client would wait for it.
 * machine_lock   device state. Taken by vCPUs in board_mmio_*, by device threads and by callbacks
 *                of the loop, for one register access or one completion: a vCPU waits for it.
 *
 * Order: control_lock before machine_lock before the accelerator's own. vCPU and device threads
 * never take control_lock, because a pause holds it and waits for them: they post an event. */

struct control_server;
struct json_t;
struct restoring;

struct vm {
	struct machine     cfg;
	struct memory      memory;
	struct vm_clock    clock;
	struct accel      *accel;
	struct board      *board;              /* NULL after a failed open, and while closing */
	struct loop       *loop;
	struct device_host device_host;        /* what board and devices may use of the VM */
	struct runstate    run;
	struct dirty_log   dirty;

	struct control_server *control;        /* of vmrun/control alone; NULL: no server */
	/* Set by control before the VM starts, and never cleared: see vm_send_event. */
	void (*on_event)(struct vm *vm, const char *name, struct json_t *data);

	struct boot_images images;             /* for resets; kernel NULL: not available */
	bool               reset_pending;      /* the guest waits for a reset; HOLD_USER is set */
	struct accel_want  want;               /* of the CPU, at open and at loads */

	enum clock_policy  clock_policy;       /* of the next load */
	struct clock_state clock_section;      /* the saved form of the clock, set at each save */
	struct restoring  *restoring;          /* thread that reads a snapshot; NULL: none */
	/* The machine as CONFIG has it, before overrides; with the facts of STATE once that was
	 * loaded. NULL: booted here. */
	struct machine    *recorded;
	bool               disk_changed_ok;    /* --disk-changed=accept, for the next check only */
	bool               disks_known;        /* cfg.hosts has the fingerprints of this pause */

	pthread_mutex_t control_lock;
	pthread_mutex_t machine_lock;

	_Atomic uint32_t   events;             /* set of 1 << enum vm_event */
	int                event_fd;           /* eventfd: events is not empty */
	struct loop_watch *event_watch;
	char               panic_text[128];    /* why the guest ended; the first cause is kept */
	int                host_signal;        /* of VM_EVENT_HOST_SIGNAL */

	bool               memory_told;        /* that it was lost */
	const char        *warning;            /* of the last boot, for main to print; or NULL */
	struct fail        end_why;            /* printed by main when the VM has ended */
};

/* Posts an event; any thread, any lock held. */
void vm_event(struct vm *vm, enum vm_event e);
/* Records why the guest ends, unless a cause is recorded already, and posts VM_EVENT_PANIC. With
 * the machine lock. */
void vm_panic(struct vm *vm, const char *text);

/* An event for management clients: name as QEMU has it ("STOP"), data stolen, NULL for none. Any
 * thread, any lock held. Without a listener (on_event) the data is only freed. */
void vm_send_event(struct vm *vm, const char *name, struct json_t *data);

/* Under control_lock: carries out what vm_event posted. Called by the main loop, and by
 * runstate_hold once the vCPUs are paused, so that an event of the guest is part of the state that
 * is saved and does not get lost between two hosts. */
void vm_process_events(struct vm *vm);
/* The vCPUs are paused and were reset: drops resets and failures of vCPUs posted before. */
void vm_events_void(struct vm *vm);

/* Opens memory, accelerator and board of cfg. Nothing runs before vm_start. The threads that are
 * started have SIGINT, SIGTERM and SIGHUP blocked. */
int vm_open(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
	    const struct accel_want *want, struct loop *loop, struct fail *why);
/* The same with a file behind memory (memory_open_file), which is taken over, on failure too, when
 * the file member is NULL on return. NULL, or a file that is NULL: without. */
struct vm_backing {
	struct memory_file *file;
	uint64_t            offsets[LIMIT_REGIONS];      /* by index in cfg->regions */
};
int vm_open_backed(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
		   const struct accel_want *want, struct loop *loop, struct vm_backing *backing,
		   struct fail *why);
/* The same for a VM that a move fills: HOLD_INCOMING is set and its disks are not locked yet. */
int vm_open_incoming(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
		     const struct accel_want *want, struct loop *loop, struct fail *why);
/* Stops vCPUs and devices and frees everything. NULL allowed. When one of them does not stop
 * (runstate.stuck) nothing is freed, because its thread still uses it: the process must end. */
void vm_close(struct vm *vm);
/* Main thread, after the VM has ended: flushes its disks, for 60 s at most. */
int vm_flush(struct vm *vm, struct fail *why);
/* Under control_lock, once memory and state are loaded: from now on the VM runs unless it is held.
 * An incoming VM is started by board_own, vm_disks_check, its record, runstate_drop
 * (HOLD_INCOMING), vm_start, in this order: each can still refuse. */
int vm_start(struct vm *vm, struct fail *why);

/* After board_own(true): are the disks as the loaded tree records them? FAIL_REFUSED names those
 * that were written to since. Reads disks: without control_lock where that is possible. */
int vm_disks_check(struct vm *vm, struct fail *why);
/* For VM_EVENT_NO_SPACE: sends BLOCK_IO_ERROR for each disk that stalls, and adds HOLD_IO. */
void vm_disks_full(struct vm *vm);
/* Before a release: takes fingerprints, unless a save of this pause has taken them. */
int vm_disks_known(struct vm *vm, struct fail *why);
/* Before a released VM continues here, after board_own(true): are the disks as they were released?
 * FAIL_REFUSED names those that changed. */
int vm_disks_retaken(struct vm *vm, struct fail *why);

/* Once memory is open: vm_memory_stop follows when it is lost (memory_lose). */
void vm_memory_watch(struct vm *vm);
/* Is guest memory what the guest has written, and the file behind it as it was? FAIL_SYSTEM names
 * the file. To be asked before memory or state leaves this host. */
int vm_memory_check(struct vm *vm, struct fail *why);
/* Under control_lock: reports the loss, once, and adds HOLD_MEMORY. */
void vm_memory_stop(struct vm *vm);

/* Power-on state with kernel and initrd loaded; does not run. */
int vm_boot(struct vm *vm, struct fail *why);
/* Under control_lock: pauses, resets and boots the VM, and lets it run again if it ran; sends
 * RESET. -1: without kernel or initrd nothing was changed; if they do not boot, the reset is
 * pending. */
int vm_reset(struct vm *vm, struct fail *why);
/* The guest asked for a reset: does what --on-reboot says. If that cannot be done the reset is
 * pending: sends VMFERRY_RESET_PENDING and adds HOLD_USER. */
void vm_reset_asked(struct vm *vm);
/* Does a pending reset, if there is one; holders stay. -1: it is still pending. */
int vm_reset_pending(struct vm *vm, struct fail *why);

/* The STATE tree, malloc'd. vCPUs and devices must be paused. Never changes the guest. The
 * fingerprints of disks are those in cfg (blk_sampled). */
int vm_save(struct vm *vm, uint8_t **fdt, size_t *len, struct fail *why);
/* Loads a hostile STATE tree, which must go with vm->recorded; memory is loaded by others before.
 * After a failure the VM must not be started. */
int vm_load(struct vm *vm, const void *fdt, size_t len, struct fail *why);
/* Under control_lock: pauses, saves, resets, loads, saves and compares, twice. A failure names
 * device and field. */
int vm_pulse(struct vm *vm, struct fail *why);
/* For vm_pulse: loads a STATE tree that this VM has just saved; and what follows once state is in
 * the structs that vm_sections names. */
int vm_reload(struct vm *vm, const void *fdt, size_t len, struct fail *why);
int vm_post_load(struct vm *vm, enum clock_policy policy, struct fail *why);

/* Main thread, before vm_start: from now on SIGINT, SIGTERM and SIGHUP wait for vm_run, which ends
 * the VM in order. */
void vm_signals_block(void);
/* Main thread: runs the loop until the VM has ended. Returns the exit status of vmrun(1), or -1
 * with *why. */
int vm_run(struct vm *vm, struct fail *why);
/* Under control_lock: ends the VM, stops the main loop, sends SHUTDOWN. The first call counts. */
void vm_end(struct vm *vm, enum run_status as, int exit_status, enum shutdown_cause cause);

#endif
