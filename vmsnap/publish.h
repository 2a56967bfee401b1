#ifndef VMSNAP_PUBLISH_H
#define VMSNAP_PUBLISH_H

#include "libcommon/fail.h"

#include <limits.h>
#include <stdbool.h>

/* A file that appears under its name complete, fsynced and with mode 0444, or not at all. It is written without a name
 * (O_TMPFILE) where the file system can do that: then nothing stays even after kill -9. Elsewhere it is `.NAME.XXXXXX`
 * in the same folder, which only kill -9 can leave behind. */

struct publish {
	int  dir;                     /* the folder */
	int  fd;                      /* write here; whoever writes fsyncs */
	bool force;                   /* replaces what is there */
	char path[PATH_MAX];          /* as given, for messages */
	char name[NAME_MAX + 1];      /* in dir */
	char temp[NAME_MAX + 1];      /* "": nameless */
};

/* Refuses what exists already unless force, and what is no regular file always. */
int publish_open(struct publish *p, const char *path, bool force, struct fail *why);
/* Gives the name and fsyncs the folder. */
int publish_finish(struct publish *p, struct fail *why);
/* Takes away what has no name yet; does nothing after publish_finish. Calls only unlinkat: another thread may do it. */
void publish_abandon(struct publish *p);
void publish_close(struct publish *p);

#endif
