/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_CPIO_H
#define VMRUN_BOOT_CPIO_H

#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A newc cpio ("070701", Linux's initramfs) built in memory: entries in any order, written sorted
 * by path, with the folders above them, owned by 0:0. Of two entries of one path the later one
 * counts. */

struct cpio_entry {
	char    *path;              /* relative, clean; owned */
	mode_t   mode;
	dev_t    rdev;
	uint32_t mtime;
	uint8_t *data;              /* file's bytes or link's target; owned, NULL when len is 0 */
	size_t   len;
};

struct cpio {
	struct cpio_entry *entries;
	size_t             n, capacity;
	size_t             bytes;      /* data and paths so far */
	size_t             max;        /* limit, of the output too */
	void              *names;      /* tsearch(3), path to entry: logarithmic */
	uint64_t           compares;   /* of paths so far; tests bound it */
};

/* Takes e->data over, also on failure. Normalises path: removes leading "/" and "./" and empty
 * components; ".." is refused; "." alone is left out. */
int cpio_add(struct cpio *c, const char *path, const struct cpio_entry *e, struct fail *why);
/* The entry that was last added, or renamed, to path; NULL for none. */
const struct cpio_entry *cpio_find(struct cpio *c, const char *path);
/* Shortens the path of entry i to len bytes. */
int cpio_shorten(struct cpio *c, size_t i, size_t len, struct fail *why);
int cpio_finish(struct cpio *c, uint8_t **out, size_t *len, struct fail *why);
void cpio_close(struct cpio *c);

#endif
