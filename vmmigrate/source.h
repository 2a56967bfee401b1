/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SOURCE_H
#define VMMIGRATE_SOURCE_H

#include "libcommon/fail.h"
#include "libcommon/client/precopy.h"
#include "vmmigrate/options.h"

/* A move, from the source's side (docs/protocol.md 5, S1 to S7). */

struct source_result {
	char                  name[VM_NAME_MAX + 1];
	char                  peer[ADDRESS_TEXT_MAX];
	struct uuid           vm, move;
	struct precopy_report pages;
	uint64_t              bytes;            /* sent on the wire */
	uint64_t              total_ns, downtime_ns;
	uint64_t              resends;
	bool                  audited, alive;
	bool                  interrupted;      /* stop_fd was the reason of the failure */
	char                  note[320];
};

/* stop_fd: readable when the user wants the move to end. 0: moved. -1: by the kind of *why the VM
 * continues here (FAIL_PEER and most others), is unresolved or owned elsewhere (FAIL_OWNER), or has
 * ended (FAIL_ENDED). r is filled as far as the move got. */
int source_move(const struct options *o, int stop_fd, struct progress *progress,
		struct source_result *r, struct fail *why);

#endif
