#ifndef VMMIGRATE_STATUS_H
#define VMMIGRATE_STATUS_H

#include "libcommon/fail.h"
#include "vmmigrate/options.h"

/* The commands that look at records. They print to stdout; 0, or -1 with *why. */
int status_run(const struct options *o, struct fail *why);
/* FAIL_USAGE without --yes where nobody can be asked; FAIL_OWNER when the other side is known to own it. */
int resolve_run(const struct options *o, struct fail *why);
/* Goes on at S5; as source_move's end. */
int resume_run(const struct options *o, int stop_fd, struct fail *why);

#endif
