/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_HOST_CHARDEV_H
#define VMRUN_HOST_CHARDEV_H

#include "libcommon/fail.h"
#include "vmrun/host/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The host's end of a serial port: "stdio", "pty", "file:F", "unix:P", "none".
 *
 * stdio on a terminal is raw and restored on every exit, signals included (chardev_restore_terminal
 * is also called from main's fatal paths); Ctrl-a x quits, Ctrl-a h shows the keys, Ctrl-a Ctrl-a
 * sends one. file: O_APPEND. unix: listens, one client at a time, output while none is there is
 * dropped. Output never blocks the VM: a reader that is too slow loses text beyond 1 MiB of backlog
 * (stdio to a pipe or file is waited for instead). An input at its end (/dev/null, a closed stdin)
 * is left alone. SIGPIPE must be ignored. */

struct chardev;

/* Main thread, without locks. receive: bytes for the guest; returns how many it took, the rest is
 * offered again after chardev_ready. quit: Ctrl-a x was typed. writable: output is taken again,
 * after chardev_capacity returned false. */
struct chardev_ops {
	size_t (*receive)(void *arg, const uint8_t *data, size_t len);
	void   (*quit)(void *arg);
	void   (*writable)(void *arg);      /* NULL: chardev_capacity is not used */
	void   *arg;
};

int chardev_open(struct chardev **out, const char *spec, struct loop *loop,
		 const struct chardev_ops *ops, struct fail *why);
/* Any thread; never waits. */
void chardev_write(struct chardev *c, const uint8_t *data, size_t len);
/* Where output must not be lost the guest waits: while chardev_capacity is false its transmitter
 * stays busy. Firmware calls (SBI) cannot be busy: for them chardev_wait waits, 2 s at most. Always
 * true where output may be lost. Any thread. */
bool chardev_capacity(struct chardev *c);
void chardev_wait(struct chardev *c);
/* The guest can take more input; any thread. */
void chardev_ready(struct chardev *c);
/* "/dev/pts/3": for query and messages. */
const char *chardev_where(const struct chardev *c);
/* Bytes written, and of those lost. */
void chardev_counts(struct chardev *c, uint64_t *out, uint64_t *lost);
/* Writes the backlog, for 2 s at most; NULL allowed. */
void chardev_close(struct chardev *c);
/* Async-signal-safe, idempotent. */
void chardev_restore_terminal(void);

#endif
