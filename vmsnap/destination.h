/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_DESTINATION_H
#define VMSNAP_DESTINATION_H

#include "libcommon/publish.h"
#include "vmsnap/options.h"

/* Where a snapshot goes: a file that gets its name at the end, or standard output. */
struct destination {
	struct publish publish;       /* fd -1 for standard output */
	const char    *what;          /* for messages; the options' */
	bool           file;
	int            fd;            /* write here */
};

/* One that was not opened, and may be closed. */
#define DESTINATION_NONE { .publish = { .dir = -1, .fd = -1, .old_fd = -1 }, .fd = -1 }

/* A signal removes the unfinished file from here on. */
int destination_open(struct destination *d, const struct options *o, struct fail *why);
/* Gives the file its name, or closes standard output. From here on signals wait: a snapshot under
 * its name must not be reported as failed. */
int destination_publish(struct destination *d, struct fail *why);
/* Removes the file unless it was published. */
void destination_close(struct destination *d);

#endif
