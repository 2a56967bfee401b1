/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_TARGET_FILL_H
#define VMMIGRATE_TARGET_FILL_H

#include "libcommon/fail.h"
#include "vmmigrate/move_images.h"
#include "vmmigrate/receiver.h"
#include "vmmigrate/spawn.h"
#include "vmmigrate/wire.h"

#include <stdbool.h>
#include <stdint.h>

/* State T1 of docs/protocol.md 5, after AGREE: images and pages into the incoming vmrun,
 * barriers acknowledged, damaged chunks requested again, the audit answered. All pointers are
 * the caller's. */

struct target_fill {
	struct wire        *wire;
	struct message     *m;               /* buffer for messages, both ways */
	struct spawn       *vmrun;
	struct receiver    *receiver;
	struct move_images *images;
	const char         *name;            /* the VM's, for notes */
	uint64_t            image_cache;     /* --image-cache, bytes */
	uint64_t            populated;       /* bytes that HELLO announced */
	/* target_fill()'s own, zero at first */
	bool                round_due;       /* ROUND was received and is not yet acknowledged */
	uint64_t            round, chunk;    /* of that ROUND */
	uint64_t            checked;         /* data pages when free memory was last checked */
};

/* Everything up to STATE, whose payload *state then points to until the receiver is closed.
 * FAIL_ENDED: the source has aborted the move. */
int target_fill(struct target_fill *f, struct chunk *c, const uint8_t **state, struct fail *why);

#endif
