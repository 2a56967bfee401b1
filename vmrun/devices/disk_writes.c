/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/disk_writes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#ifndef BLKGETDISKSEQ      /* Linux 5.15 */
#define BLKGETDISKSEQ _IOR(0x12, 128, uint64_t)
#endif

/* The beginning of a small file as text. */
static bool writes_read(const char *path, char *text, size_t capacity)
{
	int     fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n  = fd < 0 ? -1 : read(fd, text, capacity - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* A queue whose statistics are off counts nothing. A partition has the queue of its disk. */
static bool writes_counted(const char *device)
{
	char path[96], text[8];

	snprintf(path, sizeof(path), "%s/queue/iostats", device);
	if (writes_read(path, text, sizeof(text)))
		return text[0] == '1';
	snprintf(path, sizeof(path), "%s/../queue/iostats", device);
	return writes_read(path, text, sizeof(text)) && text[0] == '1';
}

bool disk_writes(int fd, bool flush, uint64_t *written, uint8_t instance[16])
{
	struct {
		char     boot[64];
		uint64_t sequence, device;
	} of = { .boot = "" };
	char               device[48], path[64], text[512];
	uint64_t           sectors, discarded;
	struct stat        st;
	XXH128_canonical_t hash;

	if (fstat(fd, &st) || !S_ISBLK(st.st_mode) || ioctl(fd, BLKGETDISKSEQ, &of.sequence) ||
	    !writes_read("/proc/sys/kernel/random/boot_id", of.boot, sizeof(of.boot)))
		return false;
	of.device = st.st_rdev;
	snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	snprintf(path, sizeof(path), "%s/stat", device);
	if (!writes_counted(device) || (flush && fdatasync(fd)) ||
	    !writes_read(path, text, sizeof(text)))
		return false;
	if (sscanf(text, "%*u %*u %*u %*u %*u %*u %" SCNu64 " %*u %*u %*u %*u %*u %*u %" SCNu64,
		   &sectors, &discarded) != 2)
		return false;
	*written = sectors + discarded;
	XXH128_canonicalFromHash(&hash, XXH3_128bits(&of, sizeof(of)));
	memcpy(instance, hash.digest, sizeof(hash.digest));
	return true;
}
