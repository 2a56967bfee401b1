#ifndef VMMIGRATE_HANDOVER_H
#define VMMIGRATE_HANDOVER_H

#include "libcommon/lease.h"
#include "libcommon/uuid.h"
#include "vmmigrate/wire.h"

#include <stdbool.h>
#include <stdint.h>

/* What a source does once its record says RELEASED (docs/protocol.md 5, S5 to S7): GO until it is answered, then `done` or
 * `retake`. Used by a move and by `vmmigrate resume`. */

struct handover {
	struct uuid     vm, move;
	char            name[VM_NAME_MAX + 1];
	struct address  peer;
	bool            insecure;
	uint64_t        timeout_ns;       /* for all tries */
	struct wire    *wire;             /* the move's connection, NULL for none; handover_run closes it */
	struct lease   *lease;            /* the move's lease, NULL for none; stays the caller's */
	int             stop_fd;          /* readable: give up trying; -1 for none */
	/* out */
	uint64_t        running_ns;       /* io_now_ns of RUNNING */
	bool            alive;            /* the target's vmrun lived when it was asked */
	char            note[320];        /* what went wrong beside the outcome; "" for nothing */
};

/* 0: it runs at the target, the record here is gone. -1: FAIL_PEER: the VM has been taken back and runs here;
 * FAIL_OWNER: in doubt, the record stays. */
int handover_run(struct handover *h, struct fail *why);

/* `done` and `retake` by the VM's vmrun, over lease or over a new one; when no vmrun of the VM lives the record alone is
 * changed. alive (may be NULL): a vmrun did it. */
int handover_done(const struct uuid *vm, const struct uuid *move, const char *name, struct lease *lease, bool *alive, struct fail *why);
int handover_retake(const struct uuid *vm, const struct uuid *move, const char *name, struct lease *lease, bool *alive, struct fail *why);

/* Says ABORT for a move on a new connection, for a few seconds at most; nobody may ever release it any more. */
void handover_abort(const struct handover *h, const char *reason);

#endif
