/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_LEASE_HANDOVER_H
#define VMRUN_CONTROL_LEASE_HANDOVER_H

#include "libcommon/fail.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* vmrun's side of a hand-over (docs/control.md 8, docs/protocol.md 8): at most one host runs the
 * VM, at any moment. Each step is on disk before it is answered. All under vm->control_lock; called
 * for the verbs of a lease and for vmferry-resolve. */

struct control_server;

/* ---- source ---- */

int lease_handover_moving(struct control_server *s, const struct uuid *move, const char *peer,
			  struct fail *why);
/* The lease that wrote MOVING or RETAKING has ended, or has aborted: what was not released never
 * will be (ABORTED), and what was not taken back stays RELEASED. */
void lease_handover_unmove(struct control_server *s);
/* The VM is paused by its lease. */
int lease_handover_release(struct control_server *s, const struct uuid *move, struct fail *why);
int lease_handover_retaking(struct control_server *s, const struct uuid *move, bool on,
			    struct fail *why);
/* confirmed: a human vouches for it, the peer has not said RETURNED. */
int lease_handover_retake(struct control_server *s, const struct uuid *move, bool confirmed,
			  struct fail *why);
int lease_handover_done(struct control_server *s, const struct uuid *move, uint64_t generation,
			struct fail *why);

/* ---- target ---- */

int lease_handover_ready(struct control_server *s, const struct uuid *move, const char *peer,
			 uint64_t generation, struct fail *why);
int lease_handover_start(struct control_server *s, const struct uuid *move, struct fail *why);
int lease_handover_abort(struct control_server *s, const struct uuid *move, struct fail *why);
/* The incoming lease has ended: before READY the VM ends too. */
void lease_handover_lost(struct control_server *s, const char *reason);
/* What was decided has now been written to disk. */
void lease_handover_recorded(struct control_server *s);

/* ---- both ---- */

/* vmferry-resolve: the user resolves it, without asking the peer. move NULL: the record's. */
int lease_handover_resolve(struct control_server *s, bool own, bool peer_is_dead,
			   const struct uuid *move, struct fail *why);

/* A target that is READY, and neither started nor aborted. */
bool lease_handover_unresolved(const struct control_server *s);
/* The VM came here by a move and is ours: START may be repeated. */
bool lease_handover_arrived(const struct control_server *s);
/* Of the VM as it is here: 0, or what OWNED says. */
uint64_t lease_handover_generation(const struct control_server *s);

#endif
