/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DEVICE_HOST_H
#define VMRUN_DEVICES_DEVICE_HOST_H

#include "format/tree/machine.h"
#include "vmrun/vm_event.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct accel;
struct loop;
struct memory;
struct vm_clock;

/**
 * struct device_host - what the board and its devices may use of the VM they belong to
 * @cfg:            the configuration; constant while the board is open, but for the rows of kernel
 *                  and initrd in hosts[]
 * @memory:         guest memory; any thread (vmrun/memory.h)
 * @clock:          guest time; any thread (vmrun/clock.h)
 * @loop:           main loop, for timers and for descriptors of the host. Callbacks run in the
 *                  main thread without @lock.
 * @accel:          the accelerator: interrupt lines of vCPUs or of its own interrupt controller,
 *                  queue notifications (vmrun/accel/accel.h). For interrupt controllers, the board
 *                  and the notifier; other devices use their irq_line.
 * @lock:           the machine lock: all state of all devices. Held by callers of device_ops; held
 *                  for one register access or one completion, never across I/O of the host.
 * @disks_deferred: open disks without taking their locks, because another vmrun still owns them:
 *                  own() takes them
 * @event:          posts an event; any thread, any lock held; does not block
 * @panic:          records why the guest ends and posts VM_EVENT_PANIC. The first text is kept: it
 *                  names the cause. With @lock.
 * @arg:            first argument of @event and @panic
 *
 * One for each VM, filled before the board is opened and valid until it is closed. Devices see
 * nothing else of struct vm, so that they can be tested without one.
 */
struct device_host {
	const struct machine  *cfg;
	struct memory         *memory;
	const struct vm_clock *clock;
	struct loop           *loop;
	struct accel          *accel;
	pthread_mutex_t       *lock;
	bool                   disks_deferred;
	void                 (*event)(void *arg, enum vm_event e);
	void                 (*panic)(void *arg, const char *text);
	void                  *arg;
};

/**
 * struct irq_line - a level-triggered interrupt line, from a device to the board
 * @changed: the board's: computes the level of interrupt @number from all devices that share it
 * @arg:     of @changed
 * @number:  interrupt of the board's controller, 0 for not connected
 * @level:   as the device drives it
 *
 * Not saved: each device drives its line anew in reset() and post_load(). With the machine lock.
 */
struct irq_line {
	void   (*changed)(void *arg, uint32_t number);
	void    *arg;
	uint32_t number;
	bool     level;
};

/* Drives the line, and tells the board even if the level is the same: after a load the controller
 * has no levels yet. */
static inline void irq_line_set(struct irq_line *l, bool level)
{
	l->level = level;
	if (l->number)
		l->changed(l->arg, l->number);
}

#endif
