/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_PROGRESS_H
#define LIBCOMMON_CLIENT_PROGRESS_H

#include "libcommon/client/precopy.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How far a save or a move is: a live line on a terminal, or one JSON object a line for programs.
 *
 *   {"event": "progress", "round": 1, "done": 512, "of": 2048, "bytes": 2097152, "rate": 104857600}
 *   {"event": "round", "round": 1, "pages": 2048, "zero_pages": 3, "dirty": 96, "bytes": 8388608,
 *    "rate": 99614720, "ms": 84.2}      (on one line)
 *
 * pages, done, of and dirty are pages; bytes are guest memory, pages times 4096; rate is bytes per
 * second; ms has a resolution of 1 us. */

/* Auto: a line on a terminal, else none. */
enum progress_mode { PROGRESS_NONE, PROGRESS_LINE, PROGRESS_JSON, PROGRESS_AUTO, PROGRESS_MODES };
extern const char *const progress_mode_names[PROGRESS_MODES];     /* as on the command line */

struct progress {
	enum progress_mode mode;
	FILE              *out;
	char               name[72];
	uint64_t           round_begin_ns, last_ns, round;
	bool               line;            /* a live line is shown, without its newline */
};

void progress_open(struct progress *p, enum progress_mode mode, FILE *out, const char *name);
/* Wipes the live line; anything else may then be printed. */
void progress_clear(struct progress *p);

/* One JSON object on one line, keys in the order of json_pack(), flushed. Takes the reference; NULL
 * (out of memory) prints nothing. */
void progress_json(FILE *out, json_t *line);
/* As JSON has it: milliseconds, rounded to 1 us. */
double progress_ms(uint64_t ns);

/* For struct precopy_options; the argument is the struct progress. */
extern const struct precopy_progress_ops progress_ops;

#endif
