/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_VIRTIO_RNG_H
#define FORMAT_STATE_STATE_VIRTIO_RNG_H

#include "format/tree/field.h"

/* A virtio entropy source. Node "virtio-rng". */
struct virtio_rng_state {
	uint64_t bytes_served;      /* since power-on */
};
extern const struct state_table virtio_rng_state_table;

#endif
