/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_OPTIONS_H
#define VMINSPECT_OPTIONS_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

struct args {
	const char *file;             /* the snapshot; NULL or "-" is standard input */
	bool        json;
	bool        config;           /* tree: the configuration's */
	const char *dtb;              /* tree: where the blob goes */
	bool        force;            /* tree: replaces that file */
	bool        raw;              /* mem */
	uint64_t    gpa, len;         /* mem */
};

enum { TAKES_CONFIG = 1, TAKES_DTB = 2, TAKES_RAW = 4, TAKES_RANGE = 8 };

struct command {
	const char *name;
	unsigned    takes;            /* options and operands beyond --json and the file */
	const char *operands, *help;
	/* Prints to stdout. A failure is *why; what is printed before it stands. */
	int       (*run)(const struct args *a, struct fail *why);
};

extern const struct command commands[];     /* main.c; a NULL name at the end */

/* Prints usage, help or version by itself and exits. */
const struct command *options_parse(struct args *a, int argc, char **argv);

int info_run(const struct args *a, struct fail *why);
int tree_run(const struct args *a, struct fail *why);
int regs_run(const struct args *a, struct fail *why);
int mem_run(const struct args *a, struct fail *why);
int verify_run(const struct args *a, struct fail *why);

#endif
