/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_SETUP_H
#define VMRUN_SETUP_H

#include "vmrun/options.h"
#include "vmrun/vm.h"

/* From a command line to a VM that can be started: the three ways a VM is made. */

/* --kernel: powered on, not started. */
int vm_power_on(struct vm **out, const struct options *o, struct loop *loop, struct fail *why);
/* --restore: configured from the snapshot and held (HOLD_RESTORE) while a thread reads and verifies
 * the rest. The main loop then starts the VM, or ends it with the reason in end_why. SIGINT,
 * SIGTERM and SIGHUP are blocked as soon as there is something to clean up. */
int vm_restore(struct vm **out, const struct options *o, struct loop *loop, struct fail *why);
/* Before the VM is closed: cancels the thread that reads and waits for it. NULL allowed. */
void vm_restore_end(struct vm *vm);
/* --incoming: configured from a tree, held until a lease fills and starts it. */
int vm_incoming(struct vm **out, const struct options *o, struct loop *loop, struct fail *why);

/* What they share: asks the records whether this host may run the VM (not for incoming), opens the
 * VM and its control socket, and locks its disks (not for incoming). *out is set as soon as there
 * is something to close, also on failure. backing: as for vm_open_backed, not for incoming. */
int setup_vm(struct vm **out, const struct machine *cfg, const struct options *o, struct loop *loop,
	     struct vm_backing *backing, struct fail *why);

/* May the paths that a snapshot records be opened? Only if this user on this host wrote it: a
 * foreign file could name any file of ours. */
struct trust {
	bool recorded;
	char why[160];      /* when not: the reason, for the message */
};

/* Applies options to a machine that came from a snapshot or a peer. A recorded path is used only
 * when trusted or with --trust-paths; a serial port on file: or unix: never is, because opening it
 * creates it. All that is missing is named in one message with the options that give it; nothing
 * is opened. Memory larger than the host's is refused, unless --overcommit is given. */
int setup_overrides(struct machine *m, const struct options *o, const struct trust *trust,
		    struct fail *why);

/* Reads kernel and initrd of the command line at once, so that a wrong path is found before
 * anything runs. */
int setup_images_given(struct vm *vm, const struct options *o, struct fail *why);

/* Refuses a serial port of m that would append to the file that fd reads. */
int setup_apart(const struct machine *m, int fd, const char *what, struct fail *why);

/* Opens FILE, or takes standard input away from the console ("-"): the console then gets the
 * terminal, or nothing. */
int setup_source(const char *source, struct fail *why);

#endif
