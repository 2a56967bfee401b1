/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_TARGET_H
#define VMMIGRATE_TARGET_H

#include "vmmigrate/options.h"

/* One connection to a listener, in a process of its own. */
enum target_outcome {
	TARGET_MOVED   = 0,      /* a VM runs here now by what was said on it */
	TARGET_FAILED  = 4,      /* a move failed or was refused; nothing is left of it but perhaps a record RETURNED */
	TARGET_UNRESOLVED   = 5,      /* a VM is kept here, READY, and nobody has said GO or ABORT */
	TARGET_NOTHING = 7,      /* no move: a question, an abort, garbage */
};

struct slots;

/* Takes fd. Notes what happens on stderr. slot: this connection's. */
enum target_outcome target_serve(int fd, const struct options *o, struct slots *slots, unsigned slot);

#endif
