/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_ROUNDS_H
#define VMINSPECT_ROUNDS_H

#include "format/snapshot/snapshot.h"

#include <stdint.h>

#define ROUNDS_MAX 64     /* kept one by one; the last takes up all that follow */

struct round {
	uint32_t number;              /* as the snapshot counts them */
	uint64_t chunks, data_pages, bytes;
};

/* What was written between the configuration and the state, round by round. */
struct rounds {
	uint32_t     n;
	struct round v[ROUNDS_MAX];
	struct round rest;            /* behind the last round's end */
	uint64_t     chunks;          /* of all types, before END */
};

/* Notes a chunk in the order of the snapshot (snap_image_walk, snap_stream_next); its payload has
 * been checked. arg: struct rounds. */
void rounds_note(void *arg, const struct chunk *c, const uint8_t *payload);

#endif
