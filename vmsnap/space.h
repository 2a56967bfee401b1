/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_SPACE_H
#define VMSNAP_SPACE_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* Space for the snapshot, reserved before it is written. The file may be on the file system that
 * the guest's own sparse disks grow on: a save that does not fit fails before it has taken what
 * they need, and always leaves them something.
 *
 * In a sparse file, such as a flat snapshot, nothing is reserved: which parts of it will hold data
 * is not known before they are written. That enough is free is looked at all the same. */

struct lease;

struct space {
	int         fd;
	const char *what;
	bool        counts;        /* a regular file: else nothing here has an effect */
	bool        sparse;
	bool        temporary;     /* to be set by its user: no option makes it smaller */
	bool        can_reserve;   /* fallocate() is supported */
	uint64_t    base;          /* where the snapshot begins in the file */
	uint64_t    reserved;      /* up to here */
};

void space_open(struct space *s, int fd, const char *what, bool sparse);
/* Bytes of an uncompressed snapshot of that many pages of data. */
uint64_t space_of_pages(uint64_t pages);
/* The snapshot will have up to `end` bytes; of a sparse file, that many of data. FAIL_SYSTEM: the
 * file system has less than that free. */
int space_need(struct space *s, uint64_t end, struct fail *why);
/* The next bytes go behind `at`; in a sparse file, anywhere. */
int space_next(struct space *s, uint64_t at, uint64_t bytes, struct fail *why);
/* Bytes of an uncompressed snapshot of all present pages, if the guest writes none of them
 * twice. To be called once logging was started. */
uint64_t space_forecast(const struct lease *l);
/* The snapshot has `end` bytes: what was reserved beyond is freed. */
void space_trim(struct space *s, uint64_t end);

#endif
