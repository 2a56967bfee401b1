/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_SAVE_H
#define VMSNAP_SAVE_H

#include "format/snapshot/snapshot.h"
#include "libcommon/client/precopy.h"
#include "libcommon/uuid.h"
#include "vmsnap/options.h"

struct save_report {
	struct precopy_report copy;
	char                  vm[72];
	struct uuid           snapshot;
	struct snap_digests   digests;
	uint64_t              encode_ns, wait_ns;      /* snap_writer_encode_ns, _wait_ns */
	struct snap_level     levels[SNAP_LEVELS];     /* snap_writer_levels */
	unsigned              nlevels;
	uint64_t              bytes;            /* written */
	unsigned              images;           /* included by --with-images */
	uint64_t              image_bytes;      /* their own, without chunk headers */
	uint64_t              pause_ns;         /* from the request to pause to vmrun's reply to
						 * the resume; --stop-after: to the VM's end */
	uint64_t              total_ns;
	bool                  published;        /* complete and under its name; may be true
						 * although the save failed afterwards */
	bool                  committed;        /* vmrun counts changes from this snapshot on */
	bool                  stopped;          /* the VM has quit */
	struct fail           commit_why;       /* when not committed */
	bool                  authenticated;    /* with the key of this host: vmrun restores it here
						 * with the paths it records */
	struct fail           auth_why;         /* when not */
};

/* The whole save. The VM is left as it was found, also after a failure; with --stop-after it has
 * quit after success. */
int save_run(const struct options *o, struct progress *progress, struct save_report *r,
	     struct fail *why);

#endif
