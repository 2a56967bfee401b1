/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_OUTPUT_FILE_H
#define FORMAT_SNAPSHOT_OUTPUT_FILE_H

#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>

/* Writes a fresh regular file at any offset, by a thread, past the page cache where the file system
 * lets us. What is given later replaces what was given before for the same bytes. One user thread.
 *
 * A failure of earlier bytes is reported by a later call; nothing is written after it. */

struct output_file;

/* fd stays the caller's. what: copied, a name for messages. */
int output_file_open(struct output_file **out, int fd, const char *what, struct fail *why);
/* Drops what has not been written. NULL is fine. */
void output_file_close(struct output_file *f);
/* The bytes are copied. */
int output_file_put(struct output_file *f, uint64_t at, const void *bytes, size_t len,
		    struct fail *why);
/* Makes bytes that were put before zero again. at, len: multiples of 4096. */
int output_file_clear(struct output_file *f, uint64_t at, uint64_t len, struct fail *why);
/* Until all that was given has been written; the descriptor does not have O_DIRECT then. */
int output_file_drain(struct output_file *f, struct fail *why);
/* Time that calls have waited for the thread. */
uint64_t output_file_wait_ns(const struct output_file *f);

#endif
