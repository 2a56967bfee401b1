/* SPDX-License-Identifier: MIT */
#include "libcommon/client/moves.h"

#include "libcommon/io.h"
#include "libcommon/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An open file description lock: it can be passed to another process with the descriptor, and
 * others can query it (F_OFD_GETLK) without taking it, so that a status command never makes a vmrun
 * fail that is just starting. */

#define MOVES_LOCK_MAX   16384u
#define MOVES_LOCK_TRY   20      /* ms between two attempts */

uint64_t moves_start_time(pid_t pid)
{
	char     path[40], text[1024];
	uint64_t start = 0;
	int      fd;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* The name, field 2, may contain blanks and brackets; field 3 follows the last bracket. */
	char *at = strrchr(text, ')');

	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %" SCNu64, &start) == 1 ? start : 0;
}

static struct flock moves_whole(short type)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET };
}

/* Is it still the file of that name? The lock of a file that was removed protects nothing. */
static bool moves_lock_is(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Writes who we are, for the messages of others that find it locked. */
static int moves_sign(int fd, const char *socket, const char *path, struct fail *why)
{
	char    hex[2 * PATHS_MAX + 1] = "";
	json_t *j;

	/* A path need not be UTF-8, JSON must be. */
	if (socket)
		text_hex(socket, strnlen(socket, PATHS_MAX), hex);
	j = json_pack("{s:I, s:I, s:o, s:s}", "pid", (json_int_t)getpid(),
		      "start", (json_int_t)moves_start_time(getpid()),
		      "socket", text_json(socket ? socket : ""), "socket-hex", hex);

	char   *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int     rc   = -1;

	json_decref(j);
	if (!text)
		return fail_set(why, FAIL_SYSTEM, "%s: out of memory", path);
	if (ftruncate(fd, 0))
		fail_sys(why, "%s: write", path);
	else
		rc = io_pwrite(fd, text, strlen(text), 0, path, why);
	free(text);
	return rc;
}

static void moves_signed(int fd, struct moves_holder *h)
{
	char    text[MOVES_LOCK_MAX];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	json_t *j = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;

	*h = (struct moves_holder){ 0 };
	if (!j)
		return;
	const char *hex = json_string_value(json_object_get(j, "socket-hex"));
	unsigned    byte;

	for (size_t i = 0; hex && i < sizeof(h->socket) - 1; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			break;
		h->socket[i] = (char)byte;
	}
	h->pid   = (pid_t)json_integer_value(json_object_get(j, "pid"));
	h->start = (uint64_t)json_integer_value(json_object_get(j, "start"));
	json_decref(j);
}

/* 0: taken. 1: another has it. */
static int moves_try(const char *path, int *fd, struct fail *why)
{
	struct flock whole = moves_whole(F_WRLCK);

	for (;;) {
		*fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (*fd < 0)
			return fail_sys(why, "%s", path);
		if (fcntl(*fd, F_OFD_SETLK, &whole)) {
			if (errno == EAGAIN || errno == EACCES)
				return 1;
			fail_sys(why, "%s: lock", path);
			io_close(fd);
			return -1;
		}
		if (moves_lock_is(*fd, path))
			return 0;
		io_close(fd);
	}
}

int moves_lock(const struct uuid *vm, const char *socket, unsigned wait_ms, int *fd,
	       struct fail *why)
{
	uint64_t            until = io_now_ns() + (uint64_t)wait_ms * 1000000u;
	struct moves_holder h;
	char                path[PATHS_MAX];
	int                 rc;

	*fd = -1;
	if (moves_path(path, vm, ".lock", true, why))
		return -1;
	while ((rc = moves_try(path, fd, why)) == 1) {
		moves_signed(*fd, &h);
		io_close(fd);
		if (io_now_ns() >= until)
			return fail_set(why, FAIL_OWNER, "%s: locked by pid %ld%s%s", path,
					(long)h.pid, h.socket[0] ? ", which runs the VM at " : "",
					h.socket);
		poll(NULL, 0, MOVES_LOCK_TRY);
	}
	if (rc == 0 && moves_sign(*fd, socket, path, why)) {
		io_close(fd);
		rc = -1;
	}
	return rc;
}

int moves_lock_adopt(const struct uuid *vm, const char *socket, int fd, struct fail *why)
{
	struct flock whole = moves_whole(F_WRLCK);
	char         path[PATHS_MAX];

	if (moves_path(path, vm, ".lock", false, why))
		return -1;
	/* Locking again through the same open file description succeeds; through another it would
	 * fail. */
	if (!moves_lock_is(fd, path) || fcntl(fd, F_OFD_SETLK, &whole))
		return fail_set(why, FAIL_OWNER, "%s: the file descriptor does not hold this lock",
				path);
	return moves_sign(fd, socket, path, why);
}

int moves_held(const struct uuid *vm, bool *held, struct moves_holder *holder, struct fail *why)
{
	char path[PATHS_MAX];

	*held = false;
	if (holder)
		*holder = (struct moves_holder){ 0 };
	if (moves_path(path, vm, ".lock", false, why))
		return -1;
	for (;;) {
		struct flock whole = moves_whole(F_WRLCK);
		int          fd    = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return errno == ENOENT || errno == ENOTDIR ? 0 : fail_sys(why, "%s", path);
		if (fcntl(fd, F_OFD_GETLK, &whole)) {
			fail_sys(why, "%s: lock", path);
			close(fd);
			return -1;
		}
		*held = whole.l_type != F_UNLCK;
		if (holder)
			moves_signed(fd, holder);
		/* A file that was removed in the meantime tells nothing about the one that replaced
		 * it: look again. */
		bool gone = !*held && !moves_lock_is(fd, path);

		close(fd);
		if (!gone || access(path, F_OK))
			return 0;
	}
}

void moves_unlock(const struct uuid *vm, int *fd)
{
	char        path[PATHS_MAX], record[PATHS_MAX];
	struct fail ignored;

	if (*fd < 0)
		return;
	if (moves_path(path, vm, ".lock", false, &ignored) == 0 &&
	    moves_path(record, vm, ".json", false, &ignored) == 0 && access(record, F_OK) &&
	    moves_lock_is(*fd, path))
		unlink(path);
	io_close(fd);
}
