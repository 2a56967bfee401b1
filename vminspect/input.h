/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_INPUT_H
#define VMINSPECT_INPUT_H

#include "format/snapshot/snapshot.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* The operand: a file, or something that can be read once. Its header has been read, and is one. */
struct input {
	int                fd;
	char               what[256];                     /* for messages */
	/* regular, and at its beginning: pread anywhere */
	bool               file;
	uint8_t            header[SNAP_HEADER_BYTES];
	struct snap_header h;
};

/* operand NULL or "-": standard input. On FAIL_VERSION s->h holds what the header says
 * (snap_header_read) and s is open; otherwise a failure leaves nothing open. */
int input_open(struct input *s, const char *operand, struct fail *why);
void input_close(struct input *s);

#endif
