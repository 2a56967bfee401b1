/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_VIRTIO_CONSOLE_H
#define FORMAT_STATE_STATE_VIRTIO_CONSOLE_H

#include "format/tree/field.h"

/* A virtio console of one port. Node "virtio-console". It holds nothing back: text waits in the
 * rings or at the host. */
struct virtio_console_state {
	uint64_t bytes_in;          /* to the guest, since power-on */
	uint64_t bytes_out;
};
extern const struct state_table virtio_console_state_table;

#endif
