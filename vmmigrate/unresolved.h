/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_UNRESOLVED_H
#define VMMIGRATE_UNRESOLVED_H

#include "libcommon/client/moves.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The unresolved moves of a listener: READY here, and neither GO nor ABORT was received
 * (docs/protocol.md 7). The source of each is queried by a process of its own, at once, then after
 * 0.5 s, doubled up to 30 s: a source that does not answer delays no other query. */

#define UNRESOLVED_MAX 64u

struct unresolved_move {
	struct uuid vm, move;
	pid_t       asker;          /* the process that queries the source; 0: none */
	uint64_t    at_ns, pause_ns;
	bool        seen;           /* by the last scan */
};

struct unresolved {
	unsigned               n;
	bool                   more;   /* records READY beyond the table: scan when one has gone */
	struct unresolved_move moves[UNRESOLVED_MAX];
};

/* Reads the records: new ones are due at once; those that are resolved go, unless one is just being
 * queried. */
void unresolved_scan(struct unresolved *d, uint64_t now_ns);
/* One that is due and not being queried; NULL for none. */
struct unresolved_move *unresolved_due(struct unresolved *d, uint64_t now_ns);
/* Milliseconds until one is due, -1 for never. */
int  unresolved_wait(const struct unresolved *d, uint64_t now_ns);
/* The process that queried has ended; left: nothing was decided. False: it was none of them. */
bool unresolved_asked(struct unresolved *d, pid_t asker, bool left, uint64_t now_ns);
unsigned unresolved_askers(const struct unresolved *d);

#endif
