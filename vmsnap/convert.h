/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_CONVERT_H
#define VMSNAP_CONVERT_H

#include "format/snapshot/snapshot.h"
#include "libcommon/client/progress.h"
#include "vmsnap/options.h"

struct convert_report {
	char                vm[VM_NAME_MAX + 1];
	struct uuid         snapshot;
	struct snap_digests digests;
	uint64_t            data, zero;            /* pages of each kind */
	unsigned            images;
	uint64_t            image_bytes;
	uint64_t            bytes_in, bytes;       /* read and written, as snapshots count */
	uint64_t            left_out;              /* chunks of IN that OUT does not have */
	bool                authenticated;         /* with the key of this host, as IN was */
	struct fail         auth_why;              /* when not */
	uint64_t            encode_ns, wait_ns, total_ns;
};

/* The whole conversion. After a failure nothing has the name of OUT that had not before. */
int convert_run(const struct options *o, struct progress *progress, struct convert_report *r,
		struct fail *why);

#endif
