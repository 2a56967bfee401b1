/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_MEMORY_FILE_H
#define VMRUN_MEMORY_FILE_H

#include "libcommon/fail.h"
#include "libcommon/pageset.h"
#include "vmrun/memory.h"

#include <stdint.h>

/* Memory that is a private mapping of a file, as of a VM that was restored by --memory cow. Pages
 * that the guest has not written are read from the file while the VM runs, so it must stay as it
 * is:
 *
 * - It is locked shared, by an open file description lock: a program that locks what it writes
 *   waits or is refused. Replacing it by rename is harmless: the mapping keeps the old file.
 * - Its size and modification time are remembered. memory_file_check compares them before anything
 *   leaves the host: a save or move of pages that somebody has changed is refused.
 * - A page that cannot be read (its medium fails, or the file was truncated: Linux then drops
 *   private copies behind the end, too) is a SIGBUS, or EFAULT of a system call. The access ends
 *   all the same, with zeros, and memory_lose() says so. */

struct memory_file {
	int      fd;              /* read-only */
	char     path[256];       /* as the user named it, for messages; its end may be cut off */
	uint64_t size;
	int64_t  mtime_ns;
};

/* Opens and locks it. FAIL_USAGE: not a regular file; FAIL_REFUSED: somebody has it locked. */
int  memory_file_open(struct memory_file **out, const char *path, struct fail *why);
void memory_file_close(struct memory_file *f);      /* NULL allowed */

/* Is it as it was opened? FAIL_SYSTEM names it and what has changed. */
int memory_file_check(const struct memory_file *f, struct fail *why);

bool memory_file_truncated(const struct memory_file *f);

/* For memory.c. Is the region in the file, and can be mapped at `offset`? */
int memory_file_holds(const struct memory_file *f, const struct region *r, uint64_t offset,
		      struct fail *why);
/* From now on an access to the mapped region that fails loses the memory instead of the process. */
int memory_file_guard(struct memory *m, struct region *r, struct fail *why);
void memory_file_unguard(const struct region *r);
/* Adds the pages that have data in the file, and those of which there is a private copy. */
int memory_file_present(const struct memory_file *f, const struct region *r, struct pageset *set,
			struct fail *why);

#endif
