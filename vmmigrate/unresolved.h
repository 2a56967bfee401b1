/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_UNRESOLVED_H
#define VMMIGRATE_UNRESOLVED_H

#include "libcommon/client/moves.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The VMs in doubt of a listener: READY here, and nobody has said GO or ABORT (docs/protocol.md 7). Each one's source is asked by a
 * process of its own, at once, then after 0.5 s, doubled up to 30 s: a source that does not answer delays nobody else. */

#define UNRESOLVED_MAX 64u

struct unresolved_move {
	struct uuid vm, move;
	pid_t       asker;          /* 0: none */
	uint64_t    at_ns, pause_ns;
	bool        seen;           /* by the last look at the records */
};

struct unresolved {
	unsigned     n;
	bool         more;          /* records READY that found no room: looked for again when one has gone */
	struct unresolved_move moves[UNRESOLVED_MAX];
};

/* Looks at the records: new ones are to be asked about at once, settled ones go when nobody asks about them any more. */
void unresolved_scan(struct unresolved *d, uint64_t now_ns);
/* One whose time has come and that nobody asks about, NULL for none. */
struct unresolved_move *unresolved_due(struct unresolved *d, uint64_t now_ns);
/* Milliseconds until one is due, -1 for never. */
int  unresolved_wait(const struct unresolved *d, uint64_t now_ns);
/* The asker has ended; left: nothing was decided. False: it was none of them. */
bool unresolved_asked(struct unresolved *d, pid_t asker, bool left, uint64_t now_ns);
unsigned unresolved_askers(const struct unresolved *d);

#endif
