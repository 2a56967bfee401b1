/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SOURCE_HANDOVER_H
#define VMMIGRATE_SOURCE_HANDOVER_H

#include "libcommon/client/lease.h"
#include "libcommon/uuid.h"
#include "vmmigrate/wire.h"

#include <stdbool.h>
#include <stdint.h>

/* What a source does once its record says RELEASED (docs/protocol.md 5, S5 to S7): GO until the
 * target replies, then `done` or `retake`. Used by a move, by `resume` and by `resolve`. */

struct source_handover {
	struct uuid     vm, move;
	char            name[VM_NAME_MAX + 1];
	struct address  peer;
	uint64_t        generation;       /* ours, of before the move */
	bool            insecure;
	uint64_t        timeout_ns;       /* of all tries together */
	struct wire    *wire;             /* the move's, closed by _run(); NULL for none */
	struct lease   *lease;            /* the move's lease, stays the caller's; NULL for none */
	int             stop_fd;          /* readable: no more tries; -1 for none */
	/* the right to resolve the move: a lease, or lock_fd */
	int             lock_fd;          /* the VM's lock while none of its vmruns run; else -1 */
	struct lease   *own;              /* a lease taken by _hold(); NULL */
	bool            keep;             /* once lost it must not be taken again: what the caller
					   * has decided was true only while it was held */
	/* results */
	uint64_t        running_ns;       /* io_now_ns() when RUNNING was received */
	bool            alive;            /* the target's vmrun was running when it replied */
	bool            here_alive;       /* a vmrun here wrote the record, not this process */
	bool            resolved;         /* another process has resolved this move */
	char            note[320];        /* what failed beside the outcome; "" for nothing */
};

/* 0: the VM runs at the target; the record here says MOVED unless `note` tells why not. -1:
 * FAIL_PEER: taken back, the VM runs here; FAIL_ENDED: taken back, but its vmrun has exited;
 * FAIL_OWNER: unresolved, the record stays. Drops what _hold() took. */
int source_handover_run(struct source_handover *h, struct fail *why);

/* Takes the right to resolve this move on this host: the VM's logging lease, or its lock when no
 * vmrun of it runs. Both are exclusive, so that two commands cannot decide differently. FAIL_OWNER:
 * another process has it, or has resolved the move. Nothing happens when it is already held. */
int  source_handover_hold(struct source_handover *h, struct fail *why);
void source_handover_drop(struct source_handover *h);

/* Writes the record with that right, which is taken if it is not held: RETAKING or RELEASED; MOVED;
 * RETAKEN. generation: of RUNNING, 0 for ours + 1. by_user: the peer has not said RETURNED, but the
 * user vouches that it does not run the VM. */
int source_handover_retaking(struct source_handover *h, bool on, struct fail *why);
int source_handover_done(struct source_handover *h, uint64_t generation, struct fail *why);
int source_handover_retake(struct source_handover *h, bool by_user, struct fail *why);

/* Says ABORT on a new connection until the target replies RETURNED, for a few seconds at most. Only
 * of a move that can no longer be released. */
void source_handover_abort(const struct source_handover *h, const char *reason);

#endif
