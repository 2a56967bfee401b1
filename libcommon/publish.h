/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_PUBLISH_H
#define LIBCOMMON_PUBLISH_H

#include "libcommon/fail.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

/* A file that appears under its name complete, with its mode, or not at all; every tool that writes
 * a file for its user does it this way. It is written without a name (O_TMPFILE) where the file
 * system supports that: then nothing is left even after kill -9. Elsewhere it is `.NAME.XXXXXX` in
 * the same folder, which only kill -9 can leave behind.
 *
 * With force the regular file is replaced that had the name at publish_open(), and nothing else: a
 * symbolic link, FIFO, device, socket or folder is refused, and so is whatever has taken the name
 * in the meantime. */

struct publish {
	int         dir;                     /* the folder */
	int         fd;                      /* write here; who writes also fsyncs */
	mode_t      mode;
	bool        replaces;                /* `old` is what has the name */
	int         old_fd;                  /* O_PATH: keeps its inode number from being reused */
	struct stat old;
	char        path[PATH_MAX];          /* as given, for messages */
	char        name[NAME_MAX + 1];      /* in dir */
	char        temp[NAME_MAX + 1];      /* "": nameless */
};

/* Does an operand mean standard output: "-", /dev/stdout and its other names? */
bool publish_standard(const char *path);

/* mode: of the file, independent of the umask. With force it is no wider than that of the file
 * replaced, but for its owner's reading. */
int publish_open(struct publish *p, const char *path, mode_t mode, bool force, struct fail *why);
/* The file st is in use, as `what`: refuses when it is the one to be replaced. */
int publish_keep(const struct publish *p, const struct stat *st, const char *what,
		 struct fail *why);
/* Gives the file its name and fsyncs the folder. */
int publish_finish(struct publish *p, struct fail *why);
/* Removes the unfinished file; does nothing after publish_finish(). Calls only unlinkat, so another
 * thread may do it. */
void publish_abandon(struct publish *p);
void publish_close(struct publish *p);

#endif
