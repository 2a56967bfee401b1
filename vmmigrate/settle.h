#ifndef VMMIGRATE_SETTLE_H
#define VMMIGRATE_SETTLE_H

#include "libcommon/lease.h"
#include "libcommon/moves.h"
#include "vmmigrate/message.h"

#include <stdbool.h>

/* Moves whose fate lies in records and live vmruns, not in this process (docs/protocol.md 5 "GO on a new connection", 7). */

/* At a target: go, else abort, for a move. out becomes RUNNING, RETURNED, or ANSWER when nothing is decided. lease: the
 * incoming lease if we hold it, else NULL and a new one is taken. */
void settle_act(const struct uuid *vm, const struct uuid *move, bool go, struct lease *lease, struct message *out);

/* Anywhere: the ANSWER to a QUERY. */
void settle_query(const struct message *query, struct message *out);

/* At a target in doubt: asks the source of a READY record and acts on the answer. out as settle_act's. */
void settle_ask(const struct move_record *r, bool insecure, struct message *out);

/* Asks about every READY record here. What became of them: */
struct settled { unsigned started, discarded, left; };
void settle_all(bool insecure, struct settled *result);
bool settle_any_ready(void);

/* QUERY to a peer (HOST:PORT); m becomes its ANSWER. */
int settle_ask_peer(const char *peer, bool insecure, const struct uuid *vm, const struct uuid *move, const char *name, bool from_target,
		    struct message *m, struct fail *why);

#endif
