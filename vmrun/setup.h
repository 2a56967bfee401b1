/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_SETUP_H
#define VMRUN_SETUP_H

#include "vmrun/options.h"
#include "vmrun/vm.h"

/* From a command line to a VM that stands ready: the three ways a VM comes to life. */

/* --kernel: powered on, not started. */
int vm_power_on(struct vm **out, const struct options *o, struct loop *loop, struct fail *why);
/* --restore: configured from the snapshot and held (HOLD_RESTORE) while a thread reads and verifies
 * the rest up to END. The main loop then starts the VM, or ends it with the reason in end_why.
 * SIGINT, SIGTERM and SIGHUP are blocked from the moment on that there is something to leave
 * behind. */
int vm_restore(struct vm **out, const struct options *o, struct loop *loop, struct fail *why);
/* Before the VM is closed: gives up what is still being read. NULL allowed. */
void vm_restore_end(struct vm *vm);
/* --incoming: configured from a tree, held until a lease fills and starts it. */
int vm_incoming(struct vm **out, const struct options *o, struct loop *loop, struct fail *why);

/* The steps they share. setup_vm asks the records (not for incoming), opens the VM, its control
 * socket and, but for incoming, takes its disks. *out is set as soon as there is something to
 * close, also on failure. */
int setup_vm(struct vm **out, const struct machine *cfg, const struct options *o, struct loop *loop,
	     struct fail *why);

/* Are recorded paths used (design.md 5)? Only those of a snapshot that this host has written. */
struct trust {
	bool recorded;
	char why[160];      /* when not: for the message */
};

/* Overrides into a machine that came from a snapshot or a peer. A recorded path is used only when
 * trusted or by --trust-paths; a serial line on file: or unix:, which is created by being opened,
 * never is. Whatever is missing is named in one message with the options that give it; nothing is
 * opened. Memory larger than the host's is refused, unless --overcommit is given. */
int setup_overrides(struct machine *m, const struct options *o, const struct trust *trust,
		    struct fail *why);

/* Kernel and initrd that were given on the command line, at once, so that a wrong path is found
 * before anything runs. */
int setup_images_given(struct vm *vm, const struct options *o, struct fail *why);

/* What fd reads from is not where a serial line of m goes. */
int setup_apart(const struct machine *m, int fd, const char *what, struct fail *why);

/* Opens FILE, or takes standard input away from the console ("-": it becomes the terminal, if there
 * is one). */
int setup_source(const char *source, struct fail *why);

#endif
