/* SPDX-License-Identifier: MIT */
#include "libcommon/samefile.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define LOOP_DEPTH 8u      /* loop devices on top of each other */

bool samefile_loop_backing(const struct stat *device, char *path, size_t capacity, struct stat *st)
{
	/* A partition: the device that it is on tells. */
	static const char *const places[] = { "", "/.." };
	char                     info[80];
	FILE                    *f = NULL;
	bool                     got;

	if (!S_ISBLK(device->st_mode))
		return false;
	for (size_t i = 0; !f && i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(info, sizeof(info), "/sys/dev/block/%u:%u%s/loop/backing_file",
			 major(device->st_rdev), minor(device->st_rdev), places[i]);
		f = fopen(info, "re");
	}
	if (!f)
		return false;
	got = fgets(path, (int)capacity, f) != NULL;
	fclose(f);
	if (!got)
		return false;
	path[strcspn(path, "\n")] = '\0';
	return path[0] == '/' && stat(path, st) == 0;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* a itself, or the file behind it. */
static bool same_behind(struct stat a, const struct stat *b)
{
	char        path[4096];
	struct stat behind;

	for (unsigned i = 0; i < LOOP_DEPTH; i++) {
		if (same_inode(&a, b))
			return true;
		if (!samefile_loop_backing(&a, path, sizeof(path), &behind))
			return false;
		a = behind;
	}
	return false;
}

bool samefile(const struct stat *a, const struct stat *b)
{
	return same_behind(*a, b) || same_behind(*b, a);
}
