/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_VMGENID_H
#define FORMAT_STATE_STATE_VMGENID_H

#include "format/tree/field.h"

/* A VM generation ID. Node "vmgenid". */
struct vmgenid_state {
	uint8_t guid[16];       /* as the guest reads it */
	/* x86: not yet in guest memory, written before the first instruction after power-on */
	bool    owed;
};
extern const struct state_table vmgenid_state_table;

#endif
