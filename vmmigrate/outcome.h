/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_OUTCOME_H
#define VMMIGRATE_OUTCOME_H

#include "libcommon/client/lease.h"
#include "libcommon/client/moves.h"
#include "vmmigrate/message.h"

#include <stdbool.h>

/* Moves that are decided by records and running vmruns, not by this process (docs/protocol.md 5 "GO
 * on a new connection", 7). */

/* At a target: carries out GO, else ABORT, for a move. generation: the source's, 0 when it is
 * not known. out becomes RUNNING, RETURNED, or ANSWER when nothing is decided. lease: the
 * incoming lease when the caller has it, else NULL and a new one is taken. */
void outcome_act(const struct uuid *vm, const struct uuid *move, uint64_t generation, bool go,
		 struct lease *lease, struct message *out);

/* At either side: the ANSWER to a QUERY. */
void outcome_query(const struct message *query, struct message *out);

/* At a target whose record says READY: asks the source and acts on the answer. out as
 * outcome_act()'s. */
void outcome_ask(const struct move_record *r, bool insecure, struct message *out);

/* QUERY about a record's latest move to its peer; m becomes its ANSWER. */
int outcome_ask_peer(const struct move_record *r, bool insecure, struct message *m,
		     struct fail *why);

/* At a source: vmrun did not reply to `release` (*why says how), and the lease has been closed.
 * What became of the move? 0: released. -1: not released for certain, *why as it was; or
 * FAIL_OWNER when it cannot be determined, and ABORT must not be said. */
int outcome_release(const struct uuid *vm, const struct uuid *move, const char *name,
		    struct fail *why);

#endif
