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
int handover_moving(struct control_server *s, const struct uuid *move, const char *peer, struct fail *why);
/* The lease that wrote MOVING or RETAKING has ended, or has given up: what was not released never will be (ABORTED), and what was
 * not taken back stays RELEASED. */
void handover_unmove(struct control_server *s);
int handover_release(struct control_server *s, const struct uuid *move, struct fail *why);      /* paused by its lease */
int handover_retaking(struct control_server *s, const struct uuid *move, bool on, struct fail *why);
/* by_word: a human vouches, the peer has not said RETURNED. */
int handover_retake(struct control_server *s, const struct uuid *move, bool by_word, struct fail *why);
int handover_done(struct control_server *s, const struct uuid *move, uint64_t generation, struct fail *why);
/* target */
int handover_ready(struct control_server *s, const struct uuid *move, const char *peer, uint64_t generation, struct fail *why);
int handover_start(struct control_server *s, const struct uuid *move, struct fail *why);
int handover_abort(struct control_server *s, const struct uuid *move, struct fail *why);
/* The incoming lease is gone: before READY that is the end. */
void handover_lost(struct control_server *s, const char *reason);
/* The disk has caught up with what was decided. */
void handover_recorded(struct control_server *s);

/* vmferry-resolve: the user settles it, without asking the peer. move NULL: whatever is there. */
int handover_resolve(struct control_server *s, bool own, bool peer_is_dead, const struct uuid *move, struct fail *why);

bool     handover_in_doubt(const struct control_server *s);         /* target, READY, neither started nor given up */
bool     handover_arrived(const struct control_server *s);          /* came here by a move, and is ours: START may be repeated */
uint64_t handover_generation(const struct control_server *s);       /* of the VM as it is here: 0, or what OWNED says */

#endif
