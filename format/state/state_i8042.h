/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_I8042_H
#define FORMAT_STATE_STATE_I8042_H

#include "format/tree/field.h"

/* A keyboard controller without keyboard. Node "i8042". */
struct i8042_state {
	uint8_t mode;         /* its command byte */
	uint8_t command;      /* that waits for a byte on the data port, 0 for none */
	uint8_t out;          /* for the guest to read, when full */
	bool    full;
};
extern const struct state_table i8042_state_table;

#endif
