/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_DISK_DIGEST_H
#define FORMAT_SNAPSHOT_DISK_DIGEST_H

#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>

/* Tells whether a disk has changed since a save without reading all of it (docs/format.md 9): its
 * size in bytes, its mtime (0 for a block device), and XXH3-128, canonical, over blocks of 64 KiB:
 * the first, the last (what is left behind a multiple of 64 KiB is part of it) and 62 in equal
 * steps between; all of them when there are no more than 64. fd is a regular file or block device,
 * readable. */
#define DISK_BLOCK  65536u
#define DISK_BLOCKS 64u
int disk_fingerprint(int fd, uint64_t *size, uint64_t *mtime_ns, uint8_t digest[16],
		     struct fail *why);

/* The same in steps, for who keeps the samples and reads again only what was written since. Sample
 * i of disk_sample_count is the returned number of bytes at *at, and lies at i * DISK_BLOCK of the
 * array that disk_samples_digest takes. */
unsigned disk_sample_count(uint64_t size);
size_t disk_sample_at(uint64_t size, unsigned i, uint64_t *at);
int disk_samples_digest(uint64_t size, const uint8_t *samples, uint8_t digest[16],
			struct fail *why);

/* Size in bytes of a regular file or block device; anything else is refused. */
int disk_size(int fd, uint64_t *size, uint64_t *mtime_ns, struct fail *why);

#endif
