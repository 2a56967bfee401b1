/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_OPTION_H
#define LIBCOMMON_OPTION_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Command lines by table. A tool's options.c holds one table: a row for each command and a row for
 * each option. Parsing, messages, --help and completion are generated from it, so that they agree.
 * Every tool also has -h, --help, -V, --version and --completion, which are in no table.
 *
 * Syntax: --name ARG, --name=ARG, -n ARG, -nARG; a unique prefix of a long name stands for it.
 * Options and operands come in any order; "--" ends the options. An option given twice has its last
 * value, unless its setter collects them. */

enum option_kind {
	OPTION_END,      /* end of the table */
	OPTION_GROUP,    /* no option: a heading of --help, in .help */
	OPTION_FLAG,     /* bool: true when given */
	OPTION_STRING,   /* const char *, into argv: min to max bytes; one of .words, if any */
	OPTION_WORD,     /* enumeration: the index of one of .words */
	OPTION_INT,      /* int, with a sign */
	OPTION_U32,
	OPTION_U64,
	OPTION_SIZE,     /* uint64_t, bytes: "4096", "64K", "1G", a multiple of .step */
	OPTION_TIME,     /* uint64_t, nanoseconds: "500us", "50ms", "2s", "10m", "1h" */
	OPTION_SET,      /* .set() parses it */
};

enum option_action { OPTION_RUN, OPTION_HELP, OPTION_VERSION, OPTION_COMPLETION };

struct option_row {
	enum option_kind   kind;
	size_t             offset;     /* of the target in the tool's struct */
	uint64_t           min, max;   /* inclusive; OPTION_INT: as int64_t; max UINT64_MAX: none */
	uint64_t           step;       /* of OPTION_SIZE; 0 is 1 */
	const char *const *words;      /* of OPTION_SET: those among its values, for completion */
	size_t             nwords;
	/* OPTION_SET: fills the target, or returns -1: with a message in *why, to which the
	 * option's name is prefixed; without, for "--name TEXT: invalid value (valid: .valid)". */
	int              (*set)(void *target, const char *text, struct fail *why);
	const char        *valid;      /* NULL: .words, which are then all that it can be */

	const char        *name;       /* without "--" */
	char               letter;     /* of the short form, or 0 */
	bool               repeat;     /* collected: may be given several times */
	const char        *arg;        /* name of the argument; NULL: .words, or none for a flag */
	const char        *implied;    /* the argument is optional: its value when omitted */
	const char        *preset;     /* default, as text, applied first; NULL: none */
	unsigned           commands;   /* that it is valid for: set of 1u << index; 0: all */
	const char        *excludes;   /* names of options, separated by spaces */
	const char        *help;
	enum option_action action;     /* of the rows that every tool has */
};

/* The target's C type is checked at compile time: OPT_U32 on a uint64_t does not compile. */
#define OPTION_AT_(st, m, ct, kd) \
	.kind = (kd), .offset = _Generic(((st *)0)->m, ct: offsetof(st, m))
#define OPTION_RANGE_(mn, mx)     .min = (uint64_t)(mn), .max = (uint64_t)(mx)

#define OPT_FLAG(st, m)           OPTION_AT_(st, m, bool, OPTION_FLAG)
#define OPT_STRING(st, m, mn, mx) \
	OPTION_AT_(st, m, const char *, OPTION_STRING), OPTION_RANGE_(mn, mx)
#define OPT_CHOICE(st, m, list)   OPT_STRING(st, m, 0, UINT64_MAX), OPT_WORDS(list)
#define OPT_WORD(st, m, list) \
	.kind = OPTION_WORD, OPT_WORDS(list), \
	.offset = _Generic(((st *)0)->m, int: offsetof(st, m), unsigned: offsetof(st, m))
#define OPT_INT(st, m, mn, mx)    OPTION_AT_(st, m, int, OPTION_INT), OPTION_RANGE_(mn, mx)
#define OPT_U32(st, m, mn, mx)    OPTION_AT_(st, m, uint32_t, OPTION_U32), OPTION_RANGE_(mn, mx)
#define OPT_U64(st, m, mn, mx)    OPTION_AT_(st, m, uint64_t, OPTION_U64), OPTION_RANGE_(mn, mx)
#define OPT_SIZE(st, m, mn, mx)   OPTION_AT_(st, m, uint64_t, OPTION_SIZE), OPTION_RANGE_(mn, mx)
#define OPT_TIME(st, m, mn, mx)   OPTION_AT_(st, m, uint64_t, OPTION_TIME), OPTION_RANGE_(mn, mx)
#define OPT_SET(st, m, ct, fn)    OPTION_AT_(st, m, ct, OPTION_SET), .set = (fn)
/* The words of a row, NUL-terminated texts in an array whose size is known. */
#define OPT_WORDS(list)           .words = (list), .nwords = sizeof(list) / sizeof((list)[0])
/* Called once for each time it is given, with the tool's struct as the target. */
#define OPT_COLLECT(fn)           .kind = OPTION_SET, .set = (fn), .repeat = true
#define OPT_GROUP(heading)        { .kind = OPTION_GROUP, .help = (heading) }
#define OPT_END                   { .kind = OPTION_END }

#define OPTION_MS ((uint64_t)1000000)          /* for ranges of OPT_TIME */
#define OPTION_S  ((uint64_t)1000000000)

struct option_command {
	/* "": what the tool does when no command is named, the first row if there is one; "--x":
	 * chosen by option x, which has a row; else the word that is the first operand. NULL:
	 * end. */
	const char *name;
	/* "VM [FILE]": an operand a word, in [] when it may be omitted; "..." at the end: any
	 * number. Operands that begin with VM are completed with the names of running VMs, HOST
	 * with host names, others with files. */
	const char *operands;
	const char *help;
};

struct option_table {
	const char                  *tool;
	const char                  *usage;       /* synopsis without the tool's name, one line */
	const char                  *about;       /* one sentence */
	const struct option_command *commands;
	const struct option_row     *rows;        /* at most 64 */
};

struct option_parsed {
	enum option_action action;        /* OPTION_RUN, else all but command is unset */
	unsigned           command;       /* index, OPTION_NO_COMMAND while there is none */
	uint64_t           given;         /* bit i: rows[i] */
	int                noperands;     /* of them, as many as the command takes */
	char             **operands;      /* in argv, NULL at the end */
};
#define OPTION_NO_COMMAND 31u

/* Fills the members of o that were given or have a default; the others stay as they are. argv is
 * reordered. Return: 0, or -1 with FAIL_USAGE and a message without the tool's name. */
int option_parse(const struct option_table *t, void *o, int argc, char **argv,
		struct option_parsed *p,
		 struct fail *why);
bool option_given(const struct option_table *t, const struct option_parsed *p, const char *name);

/* At most 80 columns. command OPTION_NO_COMMAND: of the tool; else of that command alone. */
void option_help(const struct option_table *t, unsigned command, FILE *out);
/* A script for bash, which needs nothing but bash 4; VM names come from `vmrun list`. */
void option_bash(const struct option_table *t, FILE *out);

/* For a main: does what p->action says and exits, 0 or 1 when standard output fails; returns for
 * OPTION_RUN. */
void option_act(const struct option_table *t, const struct option_parsed *p);
/* Prints *why (NULL: nothing) and the synopsis to standard error and exits with 2. */
void option_refuse(const struct option_table *t, const struct fail *why) __attribute__((noreturn));

#endif
