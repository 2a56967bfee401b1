/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_LISTEN_H
#define VMMIGRATE_LISTEN_H

#include "libcommon/fail.h"
#include "vmmigrate/options.h"

/* --listen: a child process for each connection, and one for each query about an unresolved
 * move. Says on stderr where it listens. Returns the exit status: 0 told to stop, or with --once
 * a VM runs here; with --once also 4 and 5. -1 with *why when it cannot start. */
int listen_run(const struct options *o, struct fail *why);

#endif
