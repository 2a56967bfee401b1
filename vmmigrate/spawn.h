/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SPAWN_H
#define VMMIGRATE_SPAWN_H

#include "format/tree/machine.h"
#include "libcommon/client/control.h"
#include "libcommon/client/lease.h"
#include "vmmigrate/options.h"

#include <sys/types.h>

/* The vmrun of an incoming VM: started in a session of its own, so that it outlives its listener.
 * The tree goes to its standard input, its messages to NAME.log in the runtime folder; its standard
 * output is the listener's. */

struct wire;

struct spawn {
	pid_t           pid;            /* vmrun, or a service manager's client; -1: has ended */
	struct control *control;
	struct lease   *lease;
	char            socket[PATHS_MAX];
	char            log[PATHS_MAX];
	int             log_fd;
	uint64_t        log_begin;      /* where the messages of this vmrun begin */
	int             claim;          /* the VM's lock, until its vmrun has it; -1 */
	char            token[96];      /* vmrun's --token: who has it gets the first lease */
};

/* Takes the VM's lock: from here on no other process on this host starts, fills or resolves it.
 * Waits a while for a vmrun that is just exiting. */
int spawn_claim(struct spawn *s, const struct uuid *vm, struct fail *why);

/* Starts vmrun, waits until its control socket answers and it gives the lease to our token, then
 * hands it the lock. Ends early when something arrives on the wire: the source has nothing to
 * say now but ABORT. A refusal is FAIL_REFUSED with vmrun's own message. Everything is undone on
 * failure. */
int spawn_open(struct spawn *s, const struct options *o, const struct machine *m, const void *tree,
	       size_t len, const struct wire *wire, struct fail *why);

/* The value of --NAME VALUE or --NAME=VALUE among vmrun's overrides, the last one; NULL for
 * none. */
const char *spawn_override(char **overrides, const char *name);

/* The last line of its messages, "" for none. Returns out. */
const char *spawn_last_line(const struct spawn *s, char *out, size_t capacity);

/* keep: vmrun is to continue. Else its lease is closed, upon which it exits, which is waited
 * for. */
void spawn_close(struct spawn *s, bool keep);

#endif
