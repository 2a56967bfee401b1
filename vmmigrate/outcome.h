/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_OUTCOME_H
#define VMMIGRATE_OUTCOME_H

#include "libcommon/client/lease.h"
#include "libcommon/client/moves.h"
#include "vmmigrate/message.h"

#include <stdbool.h>

/* Moves whose fate lies in records and live vmruns, not in this process (docs/protocol.md 5 "GO on a new connection", 7). */

/* At a target: go, else abort, for a move. generation: the source's, 0 when it is not known. out becomes RUNNING, RETURNED, or
 * ANSWER when nothing is decided. lease: the incoming lease if we hold it, else NULL and a new one is taken. */
void outcome_act(const struct uuid *vm, const struct uuid *move, uint64_t generation, bool go, struct lease *lease, struct message *out);

/* Anywhere: the ANSWER to a QUERY. */
void outcome_query(const struct message *query, struct message *out);

/* At a target in doubt: asks the source of a READY record and acts on the answer. out as outcome_act's. */
void outcome_ask(const struct move_record *r, bool insecure, struct message *out);

/* QUERY about a record's latest move to its peer; m becomes its ANSWER. */
int outcome_ask_peer(const struct move_record *r, bool insecure, struct message *m, struct fail *why);

/* Under the VM's lock, which the caller does not hold, and only if no vmrun lives: the latest move goes from one state to
 * another. FAIL_OWNER when it is another move by now, or in a third state. */
int outcome_without_vmrun(const struct move_record *r, enum move_state from, enum move_state to, struct fail *why);

#endif
