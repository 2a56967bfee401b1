/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_SPACE_H
#define VMSNAP_SPACE_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* Space for the snapshot, reserved before it is written. The file may be on the file system that
 * the guest's own sparse disks grow on: a save that does not fit fails before it has taken what
 * they need, and always leaves them something. */

struct lease;

struct space {
	int         fd;
	const char *what;
	bool        counts;        /* a regular file: else nothing here has an effect */
	bool        can_reserve;   /* fallocate() is supported */
	uint64_t    base;          /* where the snapshot begins in the file */
	uint64_t    reserved;      /* up to here */
};

void space_open(struct space *s, int fd, const char *what);
/* The snapshot will have up to `end` bytes. FAIL_SYSTEM: the file system has less than that
 * free. */
int space_need(struct space *s, uint64_t end, struct fail *why);
/* Bytes of an uncompressed snapshot of all present pages, if the guest writes none of them
 * twice. To be called once logging was started. */
uint64_t space_forecast(const struct lease *l);
/* The snapshot has `end` bytes: what was reserved beyond is freed. */
void space_trim(struct space *s, uint64_t end);

#endif
