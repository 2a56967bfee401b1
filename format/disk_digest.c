#include "format/disk_digest.h"

#include "libcommon/io.h"

#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
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

int disk_fingerprint(int fd, uint64_t *size, uint64_t *mtime_ns, uint8_t digest[16], struct fail *why)
{
	XXH3_state_t         *x   = NULL;
	uint8_t              *buf = NULL;
	XXH128_canonical_t    canon;
	uint64_t              nblocks;
	int                   rc = -1;

	if (disk_size(fd, size, mtime_ns, why))
		return -1;
	x   = XXH3_createState();
	buf = malloc(DISK_BLOCK);
	if (!x || !buf || XXH3_128bits_reset(x) != XXH_OK) {
		fail_set(why, FAIL_SYSTEM, "no memory for a disk's digest");
		goto out;
	}
	nblocks = *size / DISK_BLOCK + (*size % DISK_BLOCK != 0);
	for (uint64_t i = 0; i < nblocks && i < DISK_BLOCKS; i++) {
		/* i of 63 steps from the first block to the last; nblocks is below 2^48, so the product fits. */
		uint64_t block = nblocks <= DISK_BLOCKS ? i : i * (nblocks - 1) / (DISK_BLOCKS - 1);
		uint64_t at    = block * DISK_BLOCK;
		size_t   len   = *size - at < DISK_BLOCK ? (size_t)(*size - at) : DISK_BLOCK;

		if (io_pread(fd, buf, len, at, "disk", why))
			goto out;
		if (XXH3_128bits_update(x, buf, len) != XXH_OK) {
			fail_set(why, FAIL_SYSTEM, "a disk's digest");
			goto out;
		}
	}
	XXH128_canonicalFromHash(&canon, XXH3_128bits_digest(x));
	for (int i = 0; i < 16; i++)
		digest[i] = canon.digest[i];
	rc = 0;
out:
	free(buf);
	XXH3_freeState(x);
	return rc;
}
