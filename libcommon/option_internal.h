/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_OPTION_INTERNAL_H
#define LIBCOMMON_OPTION_INTERNAL_H

#include "libcommon/option.h"

#define OPTION_TEXT 200      /* an argument's name, a range */

/* The rows that every tool has, OPTION_END at the end. */
extern const struct option_row option_builtin[];

/* Options of t and then those of every tool, headings included; NULL at the end. Begins with r
 * NULL. */
const struct option_row *option_next(const struct option_table *t, const struct option_row *r);
/* Is the option valid for the command; for OPTION_NO_COMMAND: for every one? */
bool option_valid_for(const struct option_row *r, unsigned command);
/* Is the command named by a word, and not by an option? */
bool option_is_word(const struct option_command *c);
unsigned option_count(const struct option_command *commands);
/* "FILE", "a|b|c", "" for a flag. */
const char *option_arg(const struct option_row *r, char out[OPTION_TEXT]);
/* "0 to 19", "64K or more", "a, b, c"; "" when any value is valid. */
const char *option_range(const struct option_row *r, char out[OPTION_TEXT]);

/* Operand n of a command (0 is the first): its text in *out, false when there is none. Sets
 * *optional. */
bool option_operand(const struct option_command *c, int n, char out[OPTION_TEXT], bool *optional);

/* Once all is read: the command, its options and operands; option_check.c. */
int option_check(const struct option_table *t, struct option_parsed *p, struct fail *why);

/* Parses text, NULL for a flag, into r's target in o. */
int option_set(const struct option_row *r, void *o, const char *text, struct fail *why);

#endif
