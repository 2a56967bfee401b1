/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SOURCE_HANDOVER_H
#define VMMIGRATE_SOURCE_HANDOVER_H

#include "libcommon/client/lease.h"
#include "libcommon/uuid.h"
#include "vmmigrate/wire.h"

#include <stdbool.h>
#include <stdint.h>

/* What a source does once its record says RELEASED (docs/protocol.md 5, S5 to S7): GO until it is answered, then `done` or
 * `retake`. Used by a move and by `vmmigrate resume`. */

struct source_handover {
	struct uuid     vm, move;
	char            name[VM_NAME_MAX + 1];
	struct address  peer;
	uint64_t        generation;       /* ours, of before the move */
	bool            insecure;
	uint64_t        timeout_ns;       /* for all tries */
	struct wire    *wire;             /* the move's connection, NULL for none; source_handover_run closes it */
	struct lease   *lease;            /* the move's lease, NULL for none; stays the caller's */
	int             stop_fd;          /* readable: give up trying; -1 for none */
	int             lock_fd;          /* -1; the VM's lock while no vmrun lives */
	struct lease   *own;              /* NULL; a lease of our own, when the caller's has gone */
	bool            keep;             /* what was judged is true only as long as the right is held without a gap */
	/* out */
	uint64_t        running_ns;       /* io_now_ns of RUNNING */
	bool            alive;            /* the target's vmrun lived when it was asked */
	bool            here_alive;       /* a vmrun here has done what was last done, not we */
	bool            resolved;          /* somebody else has settled this move */
	char            note[320];        /* what went wrong beside the outcome; "" for nothing */
};

/* 0: it runs at the target, the record here says MOVED. -1: FAIL_PEER: the VM has been taken back and runs here;
 * FAIL_OWNER: in doubt, the record stays. Lets go of what source_handover_hold() took. */
int source_handover_run(struct source_handover *h, struct fail *why);

/* The right to settle this move on this host: the VM's logging lease, or its lock when no vmrun lives. Two who want to settle the
 * same move exclude each other. FAIL_OWNER: somebody else has it, or has settled the move. May be called again at any time. */
int  source_handover_hold(struct source_handover *h, struct fail *why);
void source_handover_drop(struct source_handover *h);

/* The record, with the right in hand (taken when it is not): RETAKING or RELEASED; MOVED; RETAKEN. generation: of RUNNING, 0: ours + 1.
 * by_user: the peer has not said RETURNED, a human vouches. */
int source_handover_retaking(struct source_handover *h, bool on, struct fail *why);
int source_handover_done(struct source_handover *h, uint64_t generation, struct fail *why);
int source_handover_retake(struct source_handover *h, bool by_user, struct fail *why);

/* Says ABORT for a move on a new connection, for a few seconds at most; nobody may ever release it any more. */
void source_handover_abort(const struct source_handover *h, const char *reason);

#endif
