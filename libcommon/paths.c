/* SPDX-License-Identifier: MIT */
#include "libcommon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool paths_alnum(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool paths_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > VM_NAME_MAX || !paths_alnum(name[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!paths_alnum(name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

static const char *paths_env(const char *name)
{
	const char *v = getenv(name);

	return v && v[0] ? v : NULL;
}

/* Makes dir, and its parents when they are missing, 0700. */
static int paths_mkdirs(const char *dir, struct fail *why)
{
	char path[PATHS_MAX];

	snprintf(path, sizeof(path), "%s", dir);
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return fail_sys(why, "%s: mkdir", path);
		*p = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return fail_sys(why, "%s: mkdir", path);
	return 0;
}

/* Is it a folder of our own, not a link, that nobody else can write? */
static int paths_check(const char *dir, struct fail *why)
{
	struct stat st;
	int         fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int         rc;

	if (fd < 0)
		return fail_sys(why, "%s", dir);
	rc = fstat(fd, &st);
	close(fd);
	if (rc)
		return fail_sys(why, "%s: stat", dir);
	if (st.st_uid != geteuid())
		return fail_set(why, FAIL_SYSTEM,
				"%s: owned by uid %u, not by this user (uid %u): set "
				"VMFERRY_RUNTIME_DIR to a directory of yours", dir,
				(unsigned)st.st_uid, (unsigned)geteuid());
	if (st.st_mode & 077)
		return fail_set(why, FAIL_SYSTEM,
				"%s: mode %04o is accessible by others: use chmod 700", dir,
				(unsigned)st.st_mode & 07777);
	return 0;
}

static int paths_join(char out[PATHS_MAX], const char *a, const char *b, struct fail *why)
{
	if (snprintf(out, PATHS_MAX, "%s%s", a, b) >= PATHS_MAX)
		return fail_set(why, FAIL_USAGE, "%s%s: path too long", a, b);
	return 0;
}

int paths_runtime(char out[PATHS_MAX], bool create, struct fail *why)
{
	const char *own = paths_env("VMFERRY_RUNTIME_DIR"), *xdg = paths_env("XDG_RUNTIME_DIR");
	int         rc;

	if (own)
		rc = paths_join(out, own, "", why);
	else if (xdg)
		rc = paths_join(out, xdg, "/vmferry", why);
	else if (geteuid() == 0)
		rc = paths_join(out, "/run/vmferry", "", why);
	else
		return fail_set(why, FAIL_SYSTEM,
				"no runtime directory: set VMFERRY_RUNTIME_DIR (or "
				"XDG_RUNTIME_DIR) to a private directory");
	if (rc)
		return -1;
	if (create && paths_mkdirs(out, why))
		return -1;
	return create ? paths_check(out, why) : 0;
}

int paths_state(char out[PATHS_MAX], bool create, struct fail *why)
{
	const char *own  = paths_env("VMFERRY_STATE_DIR");
	const char *xdg  = paths_env("XDG_STATE_HOME");
	const char *home = paths_env("HOME");
	int         rc;

	if (own)
		rc = paths_join(out, own, "", why);
	else if (xdg)
		rc = paths_join(out, xdg, "/vmferry", why);
	else if (geteuid() == 0)
		rc = paths_join(out, "/var/lib/vmferry", "", why);
	else if (home)
		rc = paths_join(out, home, "/.local/state/vmferry", why);
	else
		return fail_set(why, FAIL_SYSTEM,
				"no state directory: set VMFERRY_STATE_DIR (or XDG_STATE_HOME) to "
				"a private directory");
	return rc ? -1 : create ? paths_mkdirs(out, why) : 0;
}

static int paths_private(char out[PATHS_MAX], const char *name, bool create, struct fail *why)
{
	char state[PATHS_MAX];

	if (paths_state(state, false, why) || paths_join(out, state, name, why))
		return -1;
	if (create && paths_mkdirs(out, why))
		return -1;
	return create ? paths_check(out, why) : 0;
}

int paths_moves(char out[PATHS_MAX], bool create, struct fail *why)
{
	return paths_private(out, "/moves", create, why);
}

int paths_images(char out[PATHS_MAX], bool create, struct fail *why)
{
	return paths_private(out, "/images", create, why);
}

int paths_socket(char out[PATHS_MAX], const char *vm, bool create, struct fail *why)
{
	char dir[PATHS_MAX];

	if (strchr(vm, '/')) {
		if (paths_join(out, vm, "", why))
			return -1;
	} else {
		if (!paths_name_ok(vm))
			return fail_set(why, FAIL_USAGE,
					"'%.80s': invalid VM name (letters, digits, '.', '_', '-'; "
					"at most %d)", vm, VM_NAME_MAX);
		if (paths_runtime(dir, create, why))
			return -1;
		if (snprintf(out, PATHS_MAX, "%s/%s.sock", dir, vm) >= PATHS_MAX)
			return fail_set(why, FAIL_USAGE, "%s: path too long", dir);
	}
	if (strlen(out) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return fail_set(why, FAIL_USAGE,
				"%s: path too long for a socket: set VMFERRY_RUNTIME_DIR to a "
				"shorter directory", out);
	return 0;
}
