/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DEVICE_H
#define VMRUN_DEVICES_DEVICE_H

#include "format/tree/field.h"
#include "format/tree/machine.h"
#include "libcommon/fail.h"
#include "vmrun/devices/device_host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How devices work: a device is one constant struct device_ops, listed once in device_list.h, and
 * one private struct that begins with struct device. The board (vmrun/board/board.c) allocates the
 * struct zeroed, opens it, and calls the operations. What is saved is named by sections() and
 * described by a field table of format/state; everything else of the private struct is either
 * constant after open() or derived anew in post_load().
 *
 * Errors of the guest are not failures: the device ignores the access or, for virtio, sets
 * DEVICE_NEEDS_RESET, and the VM continues. Failures (-1 with a filled struct fail) are the host's:
 * a file that cannot be opened, a disk that does not answer. */

struct json_t;

/**
 * struct device - the common part of every device
 * @ops:  constant
 * @host: what it may use of its VM; constant
 * @cfg:  its row of the configuration: register window, host resource; constant
 * @node: name in the VM tree and in messages ("virtio-blk@10001000"); constant
 * @irq:  its interrupt line (irq_line_set), number 0 when it has none; with the machine lock
 */
struct device {
	const struct device_ops  *ops;
	const struct device_host *host;
	struct machine_device     cfg;
	char                      node[MACHINE_NODE_MAX];
	struct irq_line           irq;
};

/**
 * struct device_ops - a type of device
 * @type:       machine_device.type, the name in the VM tree ("ns16550a")
 * @compatible: in the guest's device tree
 * @node:       node name in the guest's device tree (Devicetree Specification, 2.2.2); NULL: @type
 * @virtio:     sits behind a virtio-mmio window; the private struct begins with struct virtio
 * @size:       of the private struct
 * @disk:       what a device that is a disk of the host can do besides; NULL: it is none
 *
 * @open:       opens the host's side (device_resource). Host, cfg and irq are set. Without the
 *              machine lock, before any vCPU runs. NULL: nothing to open. After a failure close()
 *              is called too.
 * @close:      frees what open() made; joins threads. Without the machine lock, no vCPU runs. Must
 *              accept a device whose open() failed halfway. NULL: nothing to free.
 *
 * All others are called with the machine lock held:
 *
 * @reset:      power-on state; nothing in flight when it returns. May drop the lock while it waits
 *              for requests in flight.
 * @read:       a register. @at is the offset in the window, @size 1, 2, 4 or 8 bytes, all inside
 *              of the window. Bits above @size are ignored. NULL: reads as 0.
 * @write:      likewise. NULL: ignored.
 * @sections:   what is saved, in place: at most @max entries; returns how many. The set depends on
 *              cfg alone, so that a save and the load after it agree. NULL: no state.
 * @post_load:  after state was loaded: checks it against RAM and host (FAIL_CORRUPT, FAIL_REFUSED)
 *              and derives the rest, such as the interrupt line. The interrupt controller's comes
 *              first. NULL: nothing to derive.
 * @pause:      no request in flight and no guest memory written after it. May drop the lock while
 *              it waits, 10 s at most: -1 then, FAIL_SYSTEM. NULL: always quiet.
 * @resume:     after pause(), a load or the first reset: looks at queues and timers again. NULL:
 *              nothing to do.
 * @own:        takes (true) or hands over (false) the locks on host resources that say which vmrun
 *              runs this VM (board_own). Idempotent. NULL: none.
 * @copied:     the VM was restored from a snapshot, so other copies of it may exist: makes the
 *              guest notice. Paused. NULL: nothing to tell.
 * @console_write, @console_read: a serial port that firmware calls may use as the console (the SBI
 *              debug console). Read: input that has arrived, 0 bytes if none. console_write is
 *              called without the lock, since it waits for the host. NULL: not a console.
 * @counters:   for vmferry-inspect: members into a JSON object. NULL: none.
 */
struct device_ops {
	const char            *type;
	const char            *compatible;
	const char            *node;
	bool                   virtio;
	size_t                 size;
	const struct disk_ops *disk;

	int      (*open)(struct device *d, struct fail *why);
	void     (*close)(struct device *d);

	void     (*reset)(struct device *d);
	uint64_t (*read)(struct device *d, uint64_t at, unsigned size);
	void     (*write)(struct device *d, uint64_t at, unsigned size, uint64_t value);
	size_t   (*sections)(struct device *d, struct state_section *out, size_t max);
	int      (*post_load)(struct device *d, struct fail *why);
	int      (*pause)(struct device *d, struct fail *why);
	int      (*resume)(struct device *d, struct fail *why);
	int      (*own)(struct device *d, bool own, struct fail *why);
	int      (*copied)(struct device *d, struct fail *why);
	void     (*console_write)(struct device *d, const uint8_t *data, size_t len);
	size_t   (*console_read)(struct device *d, uint8_t *data, size_t len);
	void     (*counters)(struct device *d, struct json_t *into);
};

/**
 * struct disk_ops - what saves and moves need of a disk (vmrun/blk_all.c)
 * @check_size:   FAIL_SYSTEM when the host's file is shorter than the guest knows it
 * @fingerprint:  size, mtime, digest and count of writes into @h. @sampled: from the samples of the
 *                last sync_start(), without I/O; else read now, which can take seconds.
 * @sync_start:   in a thread of the disk: flushes what was written since the last flush and, with
 *                @sample, reads the samples that changed. sync_busy() is false when it is done.
 * @sync_busy:    a flush started by sync_start() is still running
 * @sync_result:  its result; FAIL_SYSTEM while it is busy
 * @sync_forget:  drops the samples; the next pass reads all of them
 * @done_fd:      eventfd: readable when a flush ended, or when the last request in flight ended
 *                while hold() is on
 * @hold:         requests that have not begun wait, until hold is false or the device is resumed.
 *                With the machine lock.
 * @in_flight:    a request has begun and not ended. With the machine lock.
 * @stalled:      the host has no space for what the guest writes: no request begins before a
 *                resume, which tries those again that failed. @told, unless NULL: whether this was
 *                asked for since. With the machine lock.
 *
 * Any thread; without the machine lock where nothing else is said.
 */
struct disk_ops {
	int  (*check_size)(struct device *d, struct fail *why);
	int  (*fingerprint)(struct device *d, struct machine_host *h, bool sampled,
			    struct fail *why);
	void (*sync_start)(struct device *d, bool sample);
	bool (*sync_busy)(struct device *d);
	int  (*sync_result)(struct device *d, struct fail *why);
	void (*sync_forget)(struct device *d);
	int  (*done_fd)(struct device *d);
	void (*hold)(struct device *d, bool hold);
	bool (*in_flight)(struct device *d);
	bool (*stalled)(struct device *d, bool *told);
};

/* The machine lock, for threads and callbacks of a device's own. Taken after the VM's control lock
 * and before the accelerator's; device threads never take the control lock. */
void device_lock(struct device *d);
void device_unlock(struct device *d);

/* The host resource cfg.host; NULL when there is none of that name. */
const struct machine_host *device_resource(const struct device *d);

/* See struct device_host. */
void device_event(struct device *d, enum vm_event e);
void device_panic(struct device *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Guest time: nanoseconds since power-on, which do not pass while the VM is paused; and the wall
 * clock time that the guest sees, nanoseconds since 1970. Any thread. */
uint64_t device_clock_ns(const struct device *d);
uint64_t device_realtime_ns(const struct device *d);

#endif
