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

enum command { COMMAND_INFO, COMMAND_TREE, COMMAND_REGS, COMMAND_MEM, COMMAND_VERIFY, COMMANDS };

/* Fills a from the command line. Exits by itself: 0 after --help and the like, 2 when it is
 * wrong. */
enum command options_parse(struct args *a, int argc, char **argv);

/* The commands, each in the file of its name: print to stdout. A failure is *why; what is printed
 * before it stands. */
int info_run(const struct args *a, struct fail *why);
int tree_run(const struct args *a, struct fail *why);
int regs_run(const struct args *a, struct fail *why);
int mem_run(const struct args *a, struct fail *why);
int verify_run(const struct args *a, struct fail *why);

#endif
