/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_LEASE_INTERNAL_H
#define LIBCOMMON_CLIENT_LEASE_INTERNAL_H

#include "libcommon/client/lease.h"

#define LEASE_TREE_MAX   (4u << 20)              /* LIMIT_TREE_BYTES of format/limits.h */
#define LEASE_ANSWER_MS  60000u
#define LEASE_SLOW_MS    300000u                 /* where vmrun waits for fsync or a load */

/* One request and its answer, in m. fd: sent with it, -1 for none; fds: `want` descriptors that the
 * answer must bring. */
int lease_call(struct lease *l, struct lease_msg *m, int fd, int *fds, size_t want,
	       unsigned timeout_ms, struct fail *why);

#endif
