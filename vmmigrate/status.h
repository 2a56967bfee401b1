/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_STATUS_H
#define VMMIGRATE_STATUS_H

#include "libcommon/fail.h"
#include "vmmigrate/options.h"

struct handover;
struct move_record;

/* The commands that look at records. They print to stdout; 0, or -1 with *why. */
int status_run(const struct options *o, struct fail *why);
/* FAIL_USAGE without --yes where nobody can be asked; FAIL_OWNER when the other side is known to own it. */
int resolve_run(const struct options *o, struct fail *why);
/* Goes on at S5; as source_move's end. */
int resume_run(const struct options *o, int stop_fd, struct fail *why);

/* Shared by them. The judged record an operand names; alive: its vmrun lives here. */
int  status_record(const char *operand, struct move_record *r, bool *alive, struct fail *why);
/* A hand-over that a record tells of, without its peer's address. */
void status_handover(struct handover *h, const struct options *o, const struct move_record *r);
int  resume_released(const struct options *o, const struct move_record *r, int stop_fd, struct fail *why);

#endif
