/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_TARGET_H
#define VMMIGRATE_TARGET_H

#include "vmmigrate/options.h"

/* One connection to a listener, in a process of its own; the exit status of that process. */
enum target_outcome {
	TARGET_MOVED      = 0,      /* a VM runs here now because of this connection */
	TARGET_FAILED     = 4,      /* it failed or was refused; a record RETURNED may be left */
	TARGET_UNRESOLVED = 5,      /* a VM is kept here, READY, without GO or ABORT */
	TARGET_NOTHING    = 7,      /* no move: QUERY, ABORT, invalid input */
};

struct slots;

/* Takes fd. Notes what happens on stderr. slot: this connection's. */
enum target_outcome target_serve(int fd, const struct options *o, struct slots *slots,
				 unsigned slot);

#endif
