/* SPDX-License-Identifier: MIT */
#include "format/snapshot/disk_digest.h"

#include "libcommon/io.h"

#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <xxhash.h>

int disk_size(int fd, uint64_t *size, uint64_t *mtime_ns, struct fail *why)
{
	struct stat st;

	if (fstat(fd, &st))
		return fail_sys(why, "disk");
	*mtime_ns = 0;
	if (S_ISREG(st.st_mode)) {
		*size     = (uint64_t)st.st_size;
		*mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return fail_set(why, FAIL_REFUSED, "neither a regular file nor a block device");
	if (ioctl(fd, BLKGETSIZE64, size))
		return fail_sys(why, "disk size");
	return 0;
}

unsigned disk_sample_count(uint64_t size)
{
	uint64_t nblocks = size / DISK_BLOCK + (size % DISK_BLOCK != 0);

	return nblocks < DISK_BLOCKS ? (unsigned)nblocks : DISK_BLOCKS;
}

size_t disk_sample_at(uint64_t size, unsigned i, uint64_t *at)
{
	uint64_t nblocks = size / DISK_BLOCK + (size % DISK_BLOCK != 0);
	/* i of 63 steps from the first block to the last; nblocks is below 2^48, so the product
	 * fits. */
	uint64_t block = nblocks <= DISK_BLOCKS ? i : i * (nblocks - 1) / (DISK_BLOCKS - 1);

	*at = block * DISK_BLOCK;
	return size - *at < DISK_BLOCK ? (size_t)(size - *at) : DISK_BLOCK;
}

int disk_samples_digest(uint64_t size, const uint8_t *samples, uint8_t digest[16], struct fail *why)
{
	XXH3_state_t      *x = XXH3_createState();
	XXH128_canonical_t canon;
	bool               good = x && XXH3_128bits_reset(x) == XXH_OK;

	for (unsigned i = 0; good && i < disk_sample_count(size); i++) {
		uint64_t at;
		size_t   len = disk_sample_at(size, i, &at);

		good = XXH3_128bits_update(x, samples + (size_t)i * DISK_BLOCK, len) == XXH_OK;
	}
	if (good) {
		XXH128_canonicalFromHash(&canon, XXH3_128bits_digest(x));
		memcpy(digest, canon.digest, sizeof(canon.digest));
	}
	XXH3_freeState(x);
	return good ? 0 : fail_set(why, FAIL_SYSTEM, "disk digest: out of memory");
}

int disk_fingerprint(int fd, uint64_t *size, uint64_t *mtime_ns, uint8_t digest[16],
		     struct fail *why)
{
	uint8_t *samples;
	int      rc = 0;

	if (disk_size(fd, size, mtime_ns, why))
		return -1;
	samples = malloc((size_t)DISK_BLOCKS * DISK_BLOCK);
	if (!samples)
		return fail_set(why, FAIL_SYSTEM, "disk digest: out of memory");
	for (unsigned i = 0; rc == 0 && i < disk_sample_count(*size); i++) {
		uint64_t at;
		size_t   len = disk_sample_at(*size, i, &at);

		rc = io_pread(fd, samples + (size_t)i * DISK_BLOCK, len, at, "disk", why);
	}
	if (rc == 0)
		rc = disk_samples_digest(*size, samples, digest, why);
	free(samples);
	return rc;
}
