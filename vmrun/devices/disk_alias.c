/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/disks.h"

#include "libcommon/io.h"
#include "libcommon/samefile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Locks and claims belong to an inode. A loop device and its backing file are two inodes and one
 * disk. Each user takes its own lock first and then checks the other inode: of two at a time at
 * least one sees the other. */

static int alias_refuse(const struct disk *disk, const char *path, const char *what,
			struct fail *why)
{
	return fail_set(why, FAIL_REFUSED,
		"disk %s: %.160s (%s) already in use: mounted, or locked by another VM or program",
		disk->name, path, what);
}

/* What this user cannot open, it cannot check. */
static int alias_check(const struct disk *disk, const char *path, const struct stat *st,
		       const char *what, struct fail *why)
{
	bool        claims = S_ISBLK(st->st_mode) && !disk->readonly;
	int         fd     = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (claims ? O_EXCL : 0));
	int         locked = 0;
	struct stat now;

	if (fd < 0)
		return errno == EBUSY ? alias_refuse(disk, path, what, why) : 0;
	if (fstat(fd, &now) == 0 && samefile(&now, st))
		locked = disk_locked(fd, disk, why);
	io_close(&fd);
	if (locked > 0)
		return alias_refuse(disk, path, what, why);
	return locked;
}

/* The backing files of a loop device, through all layers. */
static int alias_behind(const struct disk *disk, struct stat st, struct fail *why)
{
	char        path[PATH_MAX];
	struct stat behind;

	for (unsigned i = 0;
	     i < 8 && samefile_loop_backing(&st, path, sizeof(path), &behind); i++) {
		if (alias_check(disk, path, &behind, "its backing file", why))
			return -1;
		st = behind;
	}
	return 0;
}

/* The device that a folder of /sys/block describes. */
static bool alias_device(const char *name, struct stat *st)
{
	char         path[PATH_MAX];
	unsigned     major, minor;
	FILE        *f;
	int          got;

	snprintf(path, sizeof(path), "/sys/block/%.200s/dev", name);
	f = fopen(path, "re");
	if (!f)
		return false;
	got = fscanf(f, "%u:%u", &major, &minor);
	fclose(f);
	*st = (struct stat){ .st_mode = S_IFBLK, .st_rdev = makedev(major, minor) };
	return got == 2;
}

/* The loop devices over a file. */
static int alias_over(const struct disk *disk, const struct stat *st, struct fail *why)
{
	DIR           *d = opendir("/sys/block");
	struct dirent *e;
	int            rc = 0;

	while (d && rc == 0 && (e = readdir(d))) {
		char        path[PATH_MAX];
		struct stat device, behind;

		if (strncmp(e->d_name, "loop", 4) || !alias_device(e->d_name, &device) ||
		    !samefile_loop_backing(&device, path, sizeof(path), &behind) ||
		    !samefile(&behind, st))
			continue;
		snprintf(path, sizeof(path), "/dev/%.200s", e->d_name);
		rc = alias_check(disk, path, &device, "a loop device on it", why);
	}
	if (d)
		closedir(d);
	return rc;
}

int disk_aliases(const struct disk *disk, struct fail *why)
{
	struct stat st;

	if (fstat(disk->fd, &st))
		return fail_sys(why, "disk %s", disk->name);
	return S_ISBLK(st.st_mode) ? alias_behind(disk, st, why) : alias_over(disk, &st, why);
}
