/* SPDX-License-Identifier: MIT */
#include "vmsnap/temporary.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define TEMPORARY_TRIES 100

/* For file systems without O_TMPFILE: the name is removed at once, so that only a kill in between
 * leaves an empty file. */
static int temporary_named(int dir, const char *what, struct fail *why)
{
	for (int tries = 0; tries < TEMPORARY_TRIES; tries++) {
		unsigned n;
		char     name[32];
		int      fd;

		if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
			return fail_sys(why, "getrandom");
		snprintf(name, sizeof(name), ".vmsnap.%08x", n);
		fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0) {
			unlinkat(dir, name, 0);
			return fd;
		}
		if (errno != EEXIST)
			break;
	}
	return fail_sys(why, "%s: create", what);
}

static int temporary_in(int dir, const char *what, struct fail *why)
{
	int fd;

	errno = EOPNOTSUPP;
	fd    = fault_hit("publish.no-tmpfile") ? -1
						: openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
							 0600);
	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
		return fail_sys(why, "%s: create", what);
	return temporary_named(dir, what, why);
}

int temporary_open(const struct destination *to, char what[TEMPORARY_WHAT], struct fail *why)
{
	const char *path = getenv("TMPDIR");
	int         dir, fd;

	if (to->file) {
		snprintf(what, TEMPORARY_WHAT, "temporary file for %s", to->what);
		return temporary_in(to->publish.dir, what, why);
	}
	if (!path || !path[0])
		path = "/var/tmp";
	snprintf(what, TEMPORARY_WHAT, "temporary file in %s", path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail_sys(why, "%s", what);
	fd = temporary_in(dir, what, why);
	io_close(&dir);
	return fd;
}
