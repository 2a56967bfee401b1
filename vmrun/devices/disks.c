/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/disks.h"

#include "format/snapshot/disk_digest.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int disk_open(struct disk *disk, const struct machine_host *host, struct fail *why)
{
	struct stat st;
	uint64_t    mtime_ns;

	*disk = (struct disk){ .fd = -1, .claim = -1, .readonly = host->readonly };
	snprintf(disk->name, sizeof(disk->name), "%s", host->name);
	/* O_NONBLOCK for the open alone: a recorded path that leads to a FIFO or a tape must not
	 * hang us. */
	disk->fd = open(host->path,
			(host->readonly ? O_RDONLY : O_RDWR) | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (disk->fd < 0)
		return fail_sys(why, "disk %s: %s", host->name, host->path);
	if (fstat(disk->fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return fail_set(why, FAIL_REFUSED,
				"disk %s: %s: not a regular file or block device", host->name,
				host->path);
	if (fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_NONBLOCK))
		return fail_sys(why, "disk %s: %s", host->name, host->path);
	disk->block = S_ISBLK(st.st_mode);
	if (disk_size(disk->fd, &disk->size, &mtime_ns, why))
		return fail_prefix(why, "disk %s: %s: ", host->name, host->path);
	return 0;
}

void disk_close(struct disk *disk)
{
	io_close(&disk->claim);
	io_close(&disk->fd);     /* and with it the locks */
	disk->hold = DISK_FREE;
}

int disk_read(const struct disk *disk, void *buf, uint64_t len, uint64_t at)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(disk->fd, p, (size_t)len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)     /* an end before the disk's: somebody cut it short */
			return n < 0 ? errno : EIO;
		p   += n;
		at  += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int disk_write_all(const struct disk *disk, const void *buf, uint64_t len, uint64_t at)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(disk->fd, p, (size_t)len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		p   += n;
		at  += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* After the write, failed or not: part of it may have reached the file. */
static void disk_wrote(const struct disk *disk, uint64_t at, uint64_t len)
{
	if (disk->wrote)
		disk->wrote(disk->wrote_arg, at, len);
}

int disk_write(const struct disk *disk, const void *buf, uint64_t len, uint64_t at)
{
	int error = disk_write_all(disk, buf, len, at);

	disk_wrote(disk, at, len);
	return error;
}

int disk_flush(const struct disk *disk)
{
	int rc;

	do {
		rc = fdatasync(disk->fd);
	} while (rc && errno == EINTR);
	return rc ? errno : 0;
}

static int disk_fallocate(const struct disk *disk, int mode, uint64_t len, uint64_t at)
{
	int rc;

	do {
		rc = fallocate(disk->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len);
	} while (rc && errno == EINTR);
	rc = rc ? errno : 0;
	disk_wrote(disk, at, len);
	return rc;
}

static bool disk_cannot(int error)
{
	return error == EOPNOTSUPP || error == ENOSYS || error == ENODEV || error == EINVAL;
}

int disk_discard(const struct disk *disk, uint64_t len, uint64_t at)
{
	int error = len ? disk_fallocate(disk, FALLOC_FL_PUNCH_HOLE, len, at) : 0;

	/* A hole can need space, for the map of holes. */
	return disk_cannot(error) || error == ENOSPC || error == EDQUOT ? 0 : error;
}

int disk_zero(const struct disk *disk, uint64_t len, uint64_t at, bool unmap, void *buf)
{
	int error = EOPNOTSUPP;

	if (len && unmap)
		error = disk_fallocate(disk, FALLOC_FL_PUNCH_HOLE, len, at);
	if (len && disk_cannot(error))
		error = disk_fallocate(disk, FALLOC_FL_ZERO_RANGE, len, at);
	if (!len || !disk_cannot(error))
		return len ? error : 0;
	memset(buf, 0, DISK_ZERO_CAPACITY);
	for (uint64_t n; len; at += n, len -= n) {
		n     = len < DISK_ZERO_CAPACITY ? len : DISK_ZERO_CAPACITY;
		error = disk_write(disk, buf, n, at);
		if (error)
			return error;
	}
	return 0;
}
