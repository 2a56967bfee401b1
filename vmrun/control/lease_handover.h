/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_LEASE_HANDOVER_H
#define VMRUN_CONTROL_LEASE_HANDOVER_H

#include "libcommon/fail.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* The rows of design.md 8's table, as vmrun lives them: at most one side runs, always. Each step is on disk before it is
 * said. Under vm->control_lock; called for the lease's verbs and for vmferry-resolve. */

struct control_server;

/* source */
int lease_handover_moving(struct control_server *s, const struct uuid *move, const char *peer, struct fail *why);
/* The lease that wrote MOVING or RETAKING has ended, or has given up: what was not released never will be (ABORTED), and what was
 * not taken back stays RELEASED. */
void lease_handover_unmove(struct control_server *s);
int lease_handover_release(struct control_server *s, const struct uuid *move, struct fail *why);      /* paused by its lease */
int lease_handover_retaking(struct control_server *s, const struct uuid *move, bool on, struct fail *why);
/* confirmed: a human vouches, the peer has not said RETURNED. */
int lease_handover_retake(struct control_server *s, const struct uuid *move, bool confirmed, struct fail *why);
int lease_handover_done(struct control_server *s, const struct uuid *move, uint64_t generation, struct fail *why);
/* target */
int lease_handover_ready(struct control_server *s, const struct uuid *move, const char *peer, uint64_t generation, struct fail *why);
int lease_handover_start(struct control_server *s, const struct uuid *move, struct fail *why);
int lease_handover_abort(struct control_server *s, const struct uuid *move, struct fail *why);
/* The incoming lease is gone: before READY that is the end. */
void lease_handover_lost(struct control_server *s, const char *reason);
/* The disk has caught up with what was decided. */
void lease_handover_recorded(struct control_server *s);

/* vmferry-resolve: the user settles it, without asking the peer. move NULL: whatever is there. */
int lease_handover_resolve(struct control_server *s, bool own, bool peer_is_dead, const struct uuid *move, struct fail *why);

bool     lease_handover_unresolved(const struct control_server *s);         /* target, READY, neither started nor given up */
bool     lease_handover_arrived(const struct control_server *s);          /* came here by a move, and is ours: START may be repeated */
uint64_t lease_handover_generation(const struct control_server *s);       /* of the VM as it is here: 0, or what OWNED says */

#endif
