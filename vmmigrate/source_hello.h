/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SOURCE_HELLO_H
#define VMMIGRATE_SOURCE_HELLO_H

#include "libcommon/client/lease.h"
#include "libcommon/uuid.h"
#include "vmmigrate/address.h"
#include "vmmigrate/message.h"
#include "vmmigrate/move_images.h"

#include <stdbool.h>
#include <stdint.h>

/* HELLO of a move: docs/protocol.md 3. */
struct source_hello {
	struct uuid               vm, move;
	const char               *name;
	uint64_t                  generation;
	bool                      audit, compressed;      /* what the target must support */
	const struct address     *ask;                    /* where QUERY is answered */
	const struct lease       *lease;                  /* for the regions */
	const struct move_images *images;
};

void source_hello(struct message *m, const struct source_hello *h);

#endif
