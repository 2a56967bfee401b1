/* SPDX-License-Identifier: MIT */
#include "libcommon/publish.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/samefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

bool publish_standard(const char *path)
{
	static const char *const names[] = { "-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(path, names[i]))
			return true;
	return false;
}

static int publish_exists(const struct publish *p, struct fail *why)
{
	return fail_set(why, FAIL_SYSTEM, "%s: already exists; use --force to overwrite", p->path);
}

/* Splits path into an open folder and a name in it. */
static int publish_split(struct publish *p, const char *path, struct fail *why)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char        dir[PATH_MAX];

	if (strlen(path) >= sizeof(p->path) || strlen(name) > NAME_MAX)
		return fail_set(why, FAIL_USAGE, "%.80s...: path too long", path);
	snprintf(p->path, sizeof(p->path), "%s", path);
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (!name[0] || !strcmp(name, ".") || !strcmp(name, ".."))
		return fail_set(why, FAIL_USAGE, "'%.80s': not a file name", path);
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 2,
		 slash ? path : "./");
	p->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dir < 0 ? fail_sys(why, "%s", path) : 0;
}

static int publish_temp_name(struct publish *p, struct fail *why)
{
	unsigned n;

	if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		return fail_sys(why, "getrandom");
	snprintf(p->temp, sizeof(p->temp), ".%.*s.%06x", NAME_MAX - 8, p->name, n & 0xffffff);
	return 0;
}

/* An empty file beside the name. Nobody else may open it before it has its mode. */
static int publish_create(struct publish *p, struct fail *why)
{
	errno = EOPNOTSUPP;
	if (!fault_hit("publish.no-tmpfile"))
		p->fd = openat(p->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (p->fd < 0 && errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT &&
	    errno != EINVAL)
		return fail_sys(why, "%s: create", p->path);
	for (int tries = 0; p->fd < 0 && tries < 100; tries++) {
		char temp[sizeof(p->temp)];

		if (publish_temp_name(p, why))
			return -1;
		p->fd = openat(p->dir, p->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW,
			       0600);
		if (p->fd >= 0)
			break;
		memcpy(temp, p->temp, sizeof(temp));
		p->temp[0] = '\0';
		if (errno != EEXIST)
			return fail_sys(why, "%s: create temporary file %s", p->path, temp);
	}
	if (p->fd < 0)
		return fail_sys(why, "%s: create", p->path);
	return 0;
}

/* Examines what has the name: p->old when it is a regular file, which requires force. */
static int publish_examine(struct publish *p, bool force, struct fail *why)
{
	p->old_fd = openat(p->dir, p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (p->old_fd < 0)
		return errno == ENOENT ? 0 : fail_sys(why, "%s", p->path);
	if (fstat(p->old_fd, &p->old))
		return fail_sys(why, "%s", p->path);
	if (S_ISLNK(p->old.st_mode))
		return fail_set(why, FAIL_SYSTEM,
				"%.220s: is a symbolic link, not overwritten; name the file it "
				"points to", p->path);
	if (!S_ISREG(p->old.st_mode))
		return fail_set(why, FAIL_SYSTEM,
				"%.220s: not a regular file, not overwritten; redirect standard "
				"output to write into it", p->path);
	p->replaces = true;
	return force ? 0 : publish_exists(p, why);
}

static bool publish_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whoever could not read the old file cannot read the new one. Members of another group count as
 * others. */
static mode_t publish_mode(const struct publish *p, const struct stat *old, gid_t gid)
{
	mode_t was = old->st_mode & 0777;

	if (old->st_gid != gid)
		was = (was & 0707) | (was & 07) << 3;
	return p->mode & (was | S_IRUSR);
}

/* Called again just before the name is given: the file may have been changed in the meantime. */
static int publish_set_mode(struct publish *p, struct fail *why)
{
	mode_t      mode = p->mode;
	struct stat st;

	if (fstat(p->fd, &st))
		return fail_sys(why, "%s: set group", p->path);
	if (p->replaces)
		mode = publish_mode(p, &p->old, st.st_gid);
	return fchmod(p->fd, mode) ? fail_sys(why, "%s: set mode", p->path) : 0;
}

int publish_open(struct publish *p, const char *path, mode_t mode, bool force, struct fail *why)
{
	*p = (struct publish){ .dir = -1, .fd = -1, .old_fd = -1, .mode = mode };
	if (publish_split(p, path, why) || publish_examine(p, force, why) ||
	    publish_create(p, why) || publish_set_mode(p, why)) {
		publish_abandon(p);
		publish_close(p);
		return -1;
	}
	return 0;
}

int publish_keep(const struct publish *p, const struct stat *st, const char *what,
		 struct fail *why)
{
	if (p->replaces && samefile(&p->old, st))
		return fail_set(why, FAIL_USAGE,
				"%.200s: is %.80s, not overwritten; name another file", p->path,
				what);
	return 0;
}

/* Gives the nameless file a name. */
static int publish_link(const struct publish *p, const char *name)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", p->fd);
	if (linkat(AT_FDCWD, self, p->dir, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	/* Without /proc: allowed to who has opened the file since Linux 6.10, before that to
	 * CAP_DAC_READ_SEARCH. */
	return errno == ENOENT ? linkat(p->fd, "", p->dir, name, AT_EMPTY_PATH) : -1;
}

static int publish_rename(const struct publish *p)
{
	if (p->replaces)
		return renameat(p->dir, p->temp, p->dir, p->name);
	if (renameat2(p->dir, p->temp, p->dir, p->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* A file system without RENAME_NOREPLACE: link(2) never replaces. */
	if (linkat(p->dir, p->temp, p->dir, p->name, 0))
		return -1;
	unlinkat(p->dir, p->temp, 0);
	return 0;
}

/* Writing can take minutes: is the file to be replaced still the one that was checked? */
static int publish_recheck(struct publish *p, struct fail *why)
{
	struct stat st;

	if (!p->replaces)
		return 0;
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno != ENOENT)
			return fail_sys(why, "%s", p->path);
		p->replaces = false;
		return 0;
	}
	if (!publish_same(&p->old, &st))
		return fail_set(why, FAIL_SYSTEM,
				"%.220s: replaced by another program in the meantime, not "
				"overwritten", p->path);
	p->old = st;
	return publish_set_mode(p, why);
}

int publish_finish(struct publish *p, struct fail *why)
{
	int rc;

	if (publish_recheck(p, why))
		return -1;
	if (p->temp[0]) {
		rc = publish_rename(p);
	} else if (p->replaces) {
		/* link(2) cannot replace: the file gets a temporary name, which rename then
		 * moves. */
		if (publish_temp_name(p, why))
			return -1;
		rc = publish_link(p, p->temp);
		if (rc)
			p->temp[0] = '\0';
		else
			rc = publish_rename(p);
	} else {
		rc = publish_link(p, p->name);
	}
	if (rc && errno == EEXIST)
		return publish_exists(p, why);
	if (rc)
		return fail_sys(why, "%s: link the finished file", p->path);
	p->temp[0] = '\0';
	/* Some file systems do not support fsync of a folder, and say so. */
	if (fsync(p->dir) && errno != EINVAL)
		return fail_sys(why, "%s: complete, but its directory could not be synced",
				p->path);
	return 0;
}

void publish_abandon(struct publish *p)
{
	if (p->temp[0])
		unlinkat(p->dir, p->temp, 0);
	p->temp[0] = '\0';
}

void publish_close(struct publish *p)
{
	io_close(&p->fd);
	io_close(&p->old_fd);
	io_close(&p->dir);
}
