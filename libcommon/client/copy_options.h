/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_COPY_OPTIONS_H
#define LIBCOMMON_CLIENT_COPY_OPTIONS_H

#include "libcommon/client/progress.h"
#include "libcommon/option.h"

/* Rows of options that every tool which copies a running VM has, with one range and one meaning. st
 * has the members level (int), threads (uint32_t), max_downtime_ns, pause_deadline_ns (uint64_t),
 * max_rounds (uint32_t), progress (enum progress_mode) and quiet (bool). cmds: the commands that
 * copy. */

/* Of --compress: a number, or "auto": SNAP_LEVEL_AUTO. */
#define COPY_LEVEL_VALID "-100 to 19, auto"
extern const char *const copy_level_words[1];
int copy_level(void *target, const char *text, struct fail *why);

/* level 0: no compression. */
#define COPY_LEVEL_ROWS(st, cmds) \
	{ OPT_SET(st, level, int, copy_level), OPT_WORDS(copy_level_words), \
	  .valid = COPY_LEVEL_VALID, .name = "compress", .arg = "LEVEL", .implied = "1", \
	  .commands = (cmds), \
	  .help = "compress memory with zstd; 0 does not, auto compresses as strongly as the " \
		  "output is slow" }, \
	{ OPT_U32(st, threads, 0, 16), .name = "threads", .arg = "N", .preset = "0", \
	  .commands = (cmds), .help = "threads that compress; 0: one for each CPU" }

/* max_rounds 0: all is copied during the pause. pause_deadline_ns: the range is vmrun's,
 * docs/control.md 6. downtime, deadline: defaults, as text. */
#define COPY_PAUSE_ROWS(st, cmds, downtime, deadline) \
	{ OPT_TIME(st, max_downtime_ns, 0, 24 * 3600 * OPTION_S), .name = "max-downtime", \
	  .arg = "TIME", .preset = (downtime), .commands = (cmds), \
	  .help = "maximum downtime to aim at" }, \
	{ OPT_U32(st, max_rounds, 0, 1000000), .name = "max-rounds", .arg = "N", .preset = "30", \
	  .commands = (cmds), .help = "maximum number of pre-copy rounds" }, \
	{ OPT_TIME(st, pause_deadline_ns, OPTION_MS, 600 * OPTION_S), .name = "pause-deadline", \
	  .arg = "TIME", .preset = (deadline), .commands = (cmds), \
	  .help = "vmrun ends the pause after TIME" }

#define COPY_ROWS(st, cmds, downtime, deadline) \
	COPY_LEVEL_ROWS(st, cmds), COPY_PAUSE_ROWS(st, cmds, downtime, deadline)

#define COPY_REPORT_ROWS(st, cmds) \
	{ OPT_WORD(st, progress, progress_mode_names), .name = "progress", .preset = "auto", \
	  .commands = (cmds), \
	  .help = "how progress and the report are shown" }, \
	{ OPT_FLAG(st, quiet), .letter = 'q', .name = "quiet", .commands = (cmds), \
	  .help = "no progress and no report, errors only" }

#endif
