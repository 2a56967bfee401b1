/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_LISTEN_H
#define VMMIGRATE_LISTEN_H

#include "libcommon/fail.h"
#include "vmmigrate/options.h"

/* The side that takes: a child process a connection, another that asks about moves in doubt. Says where it listens on
 * stderr. Returns the exit status: 0 told to end (or, with --once, a VM runs here), 4 and 5 with --once; or -1 with *why. */
int listen_run(const struct options *o, struct fail *why);

#endif
