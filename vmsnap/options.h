/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_OPTIONS_H
#define VMSNAP_OPTIONS_H

#include "format/snapshot/snapshot.h"
#include "libcommon/client/progress.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum command { COMMAND_SAVE, COMMAND_CONVERT };

struct options {
	enum command       command;
	const char        *vm;                   /* of a save: name or socket path */
	const char        *in;                   /* of a conversion; NULL: standard input */
	const char        *file;                 /* NULL: standard output */
	uint64_t           max_downtime_ns;
	uint32_t           max_rounds;
	uint64_t           pause_buffer;
	uint64_t           pause_deadline_ns;
	int                level;                /* 0 raw, else zstd's; SNAP_LEVEL_AUTO */
	uint32_t           threads;              /* 0: by CPUs */
	const char        *layout_name;
	enum snap_layout   layout;
	mode_t             mode;                 /* of the file */
	bool               with_images, state_only, stop_after, force, quiet;
	enum progress_mode progress;
};

/* Fills o from the command line. Exits by itself: 0 after --help and the like, 2 when it is
 * wrong. */
void options_parse(struct options *o, int argc, char **argv);

#endif
