#ifndef VMMIGRATE_INCOMING_H
#define VMMIGRATE_INCOMING_H

#include "format/machine.h"
#include "libcommon/control.h"
#include "libcommon/lease.h"
#include "vmmigrate/options.h"

#include <sys/types.h>

/* The vmrun of a VM that arrives: started in a session of its own, so that it outlives its listener. The tree goes to its
 * standard input; its messages to NAME.log in the runtime folder, its standard output is the listener's. */

struct incoming {
	pid_t           pid;                  /* what we started: vmrun, or a service manager's client; -1 when it has ended */
	struct control *control;
	struct lease   *lease;
	char            socket[PATHS_MAX];
	char            log[PATHS_MAX];
	int             log_fd;
	uint64_t        log_begin;            /* where this one's messages begin */
};

/* Starts it and waits until its control socket answers and grants the lease. A refusal is FAIL_REFUSED with vmrun's own words. */
int incoming_open(struct incoming *in, const struct options *o, const struct machine *m, const void *tree, size_t len, struct fail *why);

/* The last line of its messages, "" for none. */
const char *incoming_words(const struct incoming *in, char *out, size_t room);

/* keep: it is to live on. Else the lease is dropped, which ends it, and its end is waited for. */
void incoming_close(struct incoming *in, bool keep);

#endif
