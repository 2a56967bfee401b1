/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_STATUS_H
#define VMMIGRATE_STATUS_H

#include "libcommon/fail.h"
#include "vmmigrate/options.h"

struct source_handover;
struct move_record;

/* The commands about records, each in a file of its name. They print to stdout; 0, or -1 with
 * *why. */
int status_run(const struct options *o, struct fail *why);
/* FAIL_USAGE: not confirmed, or --yes missing without a terminal. FAIL_OWNER: the peer may have
 * it. */
int resolve_run(const struct options *o, struct fail *why);
/* Continues at S5 of docs/protocol.md 5; fails as source_handover_run(). */
int resume_run(const struct options *o, int stop_fd, struct fail *why);

/* resume.c, shared with resolve.c. The hand-over that a record describes, without its peer's
 * address. */
void resume_handover(struct source_handover *h, const struct options *o,
		     const struct move_record *r);
/* GO until it is answered, for a record that says RELEASED, or RETAKING when the process that was
 * taking the VM back has ended. */
int resume_released(const struct options *o, const struct move_record *r, int stop_fd,
		    struct fail *why);

#endif
