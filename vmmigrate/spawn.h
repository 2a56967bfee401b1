/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SPAWN_H
#define VMMIGRATE_SPAWN_H

#include "format/tree/machine.h"
#include "libcommon/client/control.h"
#include "libcommon/client/lease.h"
#include "vmmigrate/options.h"

#include <sys/types.h>

/* The vmrun of a VM that arrives: started in a session of its own, so that it outlives its listener. The tree goes to its
 * standard input; its messages to NAME.log in the runtime folder, its standard output is the listener's. */

struct wire;

struct spawn {
	pid_t           pid;                  /* what we started: vmrun, or a service manager's client; -1 when it has ended */
	struct control *control;
	struct lease   *lease;
	char            socket[PATHS_MAX];
	char            log[PATHS_MAX];
	int             log_fd;
	uint64_t        log_begin;            /* where this one's messages begin */
	int             claim;                /* the VM's lock, until its vmrun has it; -1 */
	char            token[96];            /* vmrun's --token: only who knows it gets the first lease */
};

/* Claims the VM: from here on no other process on this host starts, fills or settles it. Waits a while for another one that is just
 * giving it up. */
int spawn_claim(struct spawn *s, const struct uuid *vm, struct fail *why);

/* Starts it and waits until its control socket answers and grants the lease to our token, then hands it the claim. Ends early
 * when something comes on the wire: the source has nothing to say but that it has given up. A refusal is FAIL_REFUSED with vmrun's
 * own words. */
int spawn_open(struct spawn *s, const struct options *o, const struct machine *m, const void *tree, size_t len,
		  const struct wire *wire, struct fail *why);

/* The value of --NAME VALUE or --NAME=VALUE among vmrun's overrides, the last one; NULL for none. */
const char *spawn_override(char **overrides, const char *name);

/* The last line of its messages, "" for none. */
const char *spawn_last_line(const struct spawn *s, char *out, size_t capacity);

/* keep: it is to live on. Else the lease is dropped, which ends it, and its end is waited for. */
void spawn_close(struct spawn *s, bool keep);

#endif
