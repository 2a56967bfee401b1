#include "vmsnap/publish.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int publish_exists(const struct publish *p, struct fail *why)
{
	return fail_set(why, FAIL_SYSTEM, "%s: exists already; --force replaces it", p->path);
}

/* Splits path into an open folder and a name in it. */
static int publish_place(struct publish *p, const char *path, struct fail *why)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char        dir[PATH_MAX];

	if (strlen(path) >= sizeof(p->path) || strlen(name) > NAME_MAX)
		return fail_set(why, FAIL_USAGE, "%.80s...: path too long", path);
	snprintf(p->path, sizeof(p->path), "%s", path);
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (!name[0] || !strcmp(name, ".") || !strcmp(name, ".."))
		return fail_set(why, FAIL_USAGE, "'%.80s': not a file's name", path);
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 2, slash ? path : "./");
	p->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dir < 0 ? fail_sys(why, "%s", dir) : 0;
}

static int publish_temp_name(struct publish *p, struct fail *why)
{
	unsigned n;

	if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		return fail_sys(why, "getrandom");
	snprintf(p->temp, sizeof(p->temp), ".%.*s.%06x", NAME_MAX - 8, p->name, n & 0xffffff);
	return 0;
}

/* An empty file beside the name, mode 0444 whatever the umask. */
static int publish_create(struct publish *p, struct fail *why)
{
	errno = EOPNOTSUPP;
	if (!fault_hit("vmsnap.no-tmpfile"))
		p->fd = openat(p->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (p->fd < 0 && errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
		return fail_sys(why, "%s: create", p->path);
	for (int tries = 0; p->fd < 0 && tries < 100; tries++) {
		char temp[sizeof(p->temp)];

		if (publish_temp_name(p, why))
			return -1;
		p->fd = openat(p->dir, p->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (p->fd >= 0)
			break;
		memcpy(temp, p->temp, sizeof(temp));
		p->temp[0] = '\0';
		if (errno != EEXIST)
			return fail_sys(why, "%s: create %s beside it", p->path, temp);
	}
	if (p->fd < 0)
		return fail_sys(why, "%s: create", p->path);
	return fchmod(p->fd, 0444) ? fail_sys(why, "%s: mode", p->path) : 0;
}

int publish_open(struct publish *p, const char *path, bool force, struct fail *why)
{
	struct stat st;

	*p = (struct publish){ .dir = -1, .fd = -1, .force = force };
	if (publish_place(p, path, why))
		goto failed;
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!force) {
			publish_exists(p, why);
			goto failed;
		}
		if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
			fail_set(why, FAIL_SYSTEM, "%s: is there and is no regular file", path);
			goto failed;
		}
	} else if (errno != ENOENT) {
		fail_sys(why, "%s", path);
		goto failed;
	}
	if (publish_create(p, why))
		goto failed;
	return 0;
failed:
	publish_abandon(p);
	publish_close(p);
	return -1;
}

/* Links the nameless file to a name. */
static int publish_link(const struct publish *p, const char *name)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", p->fd);
	if (linkat(AT_FDCWD, self, p->dir, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	/* Without /proc: allowed to the opener since Linux 6.10, before it to CAP_DAC_READ_SEARCH. */
	return errno == ENOENT ? linkat(p->fd, "", p->dir, name, AT_EMPTY_PATH) : -1;
}

static int publish_rename(const struct publish *p)
{
	if (p->force)
		return renameat(p->dir, p->temp, p->dir, p->name);
	if (renameat2(p->dir, p->temp, p->dir, p->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* A file system without NOREPLACE: a link never replaces. */
	if (linkat(p->dir, p->temp, p->dir, p->name, 0))
		return -1;
	unlinkat(p->dir, p->temp, 0);
	return 0;
}

int publish_finish(struct publish *p, struct fail *why)
{
	int rc;

	if (p->temp[0]) {
		rc = publish_rename(p);
	} else if (p->force) {
		/* A link can't replace: it gets a name for a moment, which rename then moves. */
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
		return fail_sys(why, "%s: give the snapshot its name", p->path);
	p->temp[0] = '\0';
	/* Some file systems have no such fsync and say so. */
	if (fsync(p->dir) && errno != EINVAL)
		return fail_sys(why, "%s: is complete, but its folder could not be synced", p->path);
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
	io_close(&p->dir);
}
