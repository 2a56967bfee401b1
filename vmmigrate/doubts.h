/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_DOUBTS_H
#define VMMIGRATE_DOUBTS_H

#include "libcommon/client/moves.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The VMs in doubt of a listener: READY here, and nobody has said GO or ABORT (docs/protocol.md 7). Each one's source is asked by a
 * process of its own, at once, then after 0.5 s, doubled up to 30 s: a source that does not answer delays nobody else. */

#define DOUBTS 64u

struct doubt {
	struct uuid vm, move;
	pid_t       asker;          /* 0: none */
	uint64_t    at_ns, pause_ns;
	bool        seen;           /* by the last look at the records */
};

struct doubts {
	unsigned     n;
	bool         more;          /* records READY that found no room: looked for again when one has gone */
	struct doubt doubt[DOUBTS];
};

/* Looks at the records: new ones are to be asked about at once, settled ones go when nobody asks about them any more. */
void doubts_look(struct doubts *d, uint64_t now_ns);
/* One whose time has come and that nobody asks about, NULL for none. */
struct doubt *doubts_due(struct doubts *d, uint64_t now_ns);
/* Milliseconds until one is due, -1 for never. */
int  doubts_wait(const struct doubts *d, uint64_t now_ns);
/* The asker has ended; left: nothing was decided. False: it was none of them. */
bool doubts_asked(struct doubts *d, pid_t asker, bool left, uint64_t now_ns);
unsigned doubts_askers(const struct doubts *d);

#endif
