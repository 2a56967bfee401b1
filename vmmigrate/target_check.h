/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_TARGET_CHECK_H
#define VMMIGRATE_TARGET_CHECK_H

#include "format/tree/machine.h"
#include "libcommon/client/lease.h"
#include "libcommon/fail.h"
#include "vmmigrate/address.h"
#include "vmmigrate/message.h"
#include "vmmigrate/spawn.h"

#include <stdint.h>

/* What a target checks before it says AGREE (docs/protocol.md 5, "Agree"). HELLO and the VM tree
 * come from a peer that may be hostile; nothing here has a side effect but target_check_claim(),
 * which takes the VM's lock. In the order of the calls: */

#define TARGET_FEATURES 2u
extern const char *const target_features[TARGET_FEATURES];      /* what HELLO's `needs` may name */

struct target_hello {
	char     ask[ADDRESS_TEXT_MAX];      /* where the source is queried; fits a record */
	uint64_t populated;                  /* bytes of guest memory in use at the source */
};

/* All of HELLO, against the tree m and the connection it came from. FAIL_VERSION: a feature or page
 * size that is not supported; FAIL_CORRUPT: invalid, or not what the tree says. */
int target_check_hello(const struct message *hello, const struct machine *m, int fd,
		       struct target_hello *out, struct fail *why);

/* FAIL_LIMIT: this host has less than `bytes` of free memory and swap. A host that does not report
 * them has enough. */
int target_check_memory(uint64_t bytes, struct fail *why);

/* Takes the VM's lock into s, unless the VM runs here, or its record forbids this move:
 * FAIL_REFUSED, FAIL_OWNER. FAIL_LIMIT: too many moves are unresolved on this host. */
int target_check_claim(const struct message *hello, const struct machine *m, struct spawn *s,
		       struct fail *why);

/* The vmrun behind l, started from the tree, has built the machine m and the regions of HELLO. */
int target_check_shape(const struct message *hello, const struct machine *m, struct lease *l,
		       struct fail *why);

#endif
