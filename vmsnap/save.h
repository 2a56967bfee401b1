/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_SAVE_H
#define VMSNAP_SAVE_H

#include "libcommon/client/precopy.h"
#include "libcommon/uuid.h"
#include "vmsnap/options.h"

struct save_report {
	struct precopy_report copy;
	char                  vm[72];
	struct uuid           snapshot;
	uint8_t               content[16];
	uint64_t              bytes;            /* written */
	uint64_t              pause_ns;         /* from asking for the pause to the answer that the VM goes on; to the end of it with --stop-after */
	uint64_t              total_ns;
	bool                  published;        /* the snapshot is complete where it belongs; true with some failures after it */
	bool                  committed;        /* vmrun counts changes from this snapshot on */
	bool                  stopped;          /* the VM has quit */
	struct fail           commit_why;       /* when not committed */
	bool                  authenticated;    /* this host will know the snapshot as its own */
	struct fail           auth_why;         /* when not */
};

/* The whole save. The VM is left as it was found, also after a failure; with --stop-after it has quit after success. */
int save_run(const struct options *o, struct progress *progress, struct save_report *r, struct fail *why);

#endif
