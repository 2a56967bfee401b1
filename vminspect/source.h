/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_SOURCE_H
#define VMINSPECT_SOURCE_H

#include "format/snapshot/snapshot.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* The operand: a file, or something that can be read once. Its header has been read, and is one. */
struct source {
	int                fd;
	char               what[256];                     /* for messages */
	/* regular, and at its beginning: pread anywhere */
	bool               file;
	uint8_t            header[SNAP_HEADER_BYTES];
	struct snap_header h;
};

/* operand NULL or "-": standard input. On FAIL_VERSION s->h holds what the header says
 * (snap_header_read) and s is open; otherwise a failure leaves nothing open. */
int source_open(struct source *s, const char *operand, struct fail *why);
void source_close(struct source *s);

#endif
