/* SPDX-License-Identifier: MIT */
#include "vmrun/control/server.h"

#include "libcommon/io.h"
#include "vmrun/apart.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Whoever has the flock on NAME.lock is NAME. The file stays when the VM has ended: while the VM
 * lives it tells which process that is, afterwards how the VM ended (its epitaph), so that a wait
 * that comes too late is still answered. */

#define SOCKET_LOCK_MAX (64u << 10)

static int socket_lock_path(char out[PATHS_MAX], const char *socket, struct fail *why)
{
	size_t n = strlen(socket);

	if (n > 5 && !strcmp(socket + n - 5, ".sock"))
		n -= 5;
	if (snprintf(out, PATHS_MAX, "%.*s.lock", (int)n, socket) >= PATHS_MAX)
		return fail_set(why, FAIL_USAGE, "%s: path too long", socket);
	return 0;
}

static json_t *socket_lock_read(int fd)
{
	struct fail why;
	uint8_t    *text;
	size_t      len;
	json_t     *j;

	if (lseek(fd, 0, SEEK_SET) || io_slurp(fd, &text, &len, SOCKET_LOCK_MAX, "lock", &why))
		return NULL;
	j = json_loadb((const char *)text, len, 0, NULL);
	free(text);
	return j;
}

static int socket_lock_write(struct control_server *s, json_t *m, struct fail *why)
{
	char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;
	int   rc   = -1;

	json_decref(m);
	if (!text)
		return fail_set(why, FAIL_SYSTEM, "%s: out of memory", s->lock_path);
	if (ftruncate(s->lock_fd, 0))
		fail_sys(why, "%s: write", s->lock_path);
	else
		rc = io_pwrite(s->lock_fd, text, strlen(text), 0, s->lock_path, why);
	free(text);
	return rc;
}

static int socket_refuse(struct control_server *s, struct fail *why)
{
	json_t    *j   = socket_lock_read(s->lock_fd);
	long long  pid = json_integer_value(json_object_get(j, "pid"));

	json_decref(j);
	return fail_set(why, FAIL_REFUSED, "%s: already running (pid %lld, %s)", s->vm->cfg.name,
			pid, s->path);
}

/* The lock's path follows from --control PATH: another program's file (Cargo.lock) must not be
 * overwritten. */
static int socket_lock_ours(struct control_server *s, const struct stat *st, struct fail *why)
{
	json_t *j    = st->st_size ? socket_lock_read(s->lock_fd) : NULL;
	bool    ours = st->st_size == 0 || json_is_integer(json_object_get(j, "pid"));

	json_decref(j);
	if (ours)
		return 0;
	return fail_set(why, FAIL_REFUSED, "%.200s: exists and is not a lock file of vmrun: "
			"remove it, or use another --control path", s->lock_path);
}

static int socket_lock(struct control_server *s, struct fail *why)
{
	struct stat st;
	char        id[UUID_TEXT];

	s->lock_fd = open(s->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return fail_sys(why, "%s", s->lock_path);
	if (fstat(s->lock_fd, &st))
		return fail_sys(why, "%s", s->lock_path);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return fail_set(why, FAIL_SYSTEM, "%s: not a regular file owned by this user",
				s->lock_path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return socket_refuse(s, why);
		return fail_sys(why, "%s: lock", s->lock_path);
	}
	if (apart_from(&s->vm->cfg, &st, "the VM's lock file", why) ||
	    socket_lock_ours(s, &st, why))
		return -1;
	uuid_text(&s->vm->cfg.uuid, id);
	return socket_lock_write(s, json_pack("{s:I, s:s, s:s}", "pid", (json_int_t)getpid(),
					      "name", s->vm->cfg.name, "uuid", id), why);
}

/* Removes the socket of a VM that has died: we have its lock. Anything else belongs to somebody. */
static int socket_clear(const struct sockaddr_un *at, struct fail *why)
{
	struct stat st;
	int         fd, live;

	if (lstat(at->sun_path, &st))
		return errno == ENOENT ? 0 : fail_sys(why, "%s", at->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return fail_set(why, FAIL_REFUSED, "%s: exists and is not a socket", at->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_sys(why, "socket");
	live = connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 || errno == EAGAIN;
	close(fd);
	if (live)
		return fail_set(why, FAIL_REFUSED, "%s: already in use by another program",
				at->sun_path);
	if (unlink(at->sun_path))
		return fail_sys(why, "%s: remove the stale socket", at->sun_path);
	return 0;
}

int socket_open(struct control_server *s, const char *path, struct fail *why)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char               dir[PATHS_MAX];

	if (path) {
		if (snprintf(s->path, sizeof(s->path), "%s%s", strchr(path, '/') ? "" : "./",
			     path) >= (int)sizeof(s->path))
			return fail_set(why, FAIL_USAGE, "%s: path too long", path);
		if (strlen(s->path) >= sizeof(at.sun_path))
			return fail_set(why, FAIL_USAGE, "%s: path too long for a socket", path);
	} else if (paths_runtime(dir, true, why) ||
		   paths_socket(s->path, s->vm->cfg.name, true, why)) {
		return -1;
	}
	if (socket_lock_path(s->lock_path, s->path, why) || socket_lock(s, why))
		return -1;
	memcpy(at.sun_path, s->path, strlen(s->path) + 1);
	if (socket_clear(&at, why))
		return -1;
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return fail_sys(why, "%s: socket", s->path);
	/* Linux gives the file that bind makes the mode of the socket: at no moment could others
	 * connect. */
	if (fchmod(s->listen_fd, 0600) || bind(s->listen_fd, (struct sockaddr *)&at, sizeof(at)))
		return fail_sys(why, "%s: bind", s->path);
	if (listen(s->listen_fd, 16)) {
		fail_sys(why, "%s: listen", s->path);
		unlink(s->path);
		return -1;
	}
	return 0;
}

void socket_close(struct control_server *s, json_t *epitaph)
{
	struct fail ignored;

	if (s->listen_fd >= 0) {
		unlink(s->path);
		socket_lock_write(s, epitaph, &ignored);
	} else {
		json_decref(epitaph);
	}
	io_close(&s->listen_fd);
	io_close(&s->lock_fd);
}

bool socket_is_live(const char *socket)
{
	struct fail why;
	char        path[PATHS_MAX];
	bool        live;
	int         fd;

	if (socket_lock_path(path, socket, &why))
		return false;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	live = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return live;
}

json_t *socket_epitaph(const char *socket, unsigned wait_ms)
{
	uint64_t    until = io_now_ns() + (uint64_t)wait_ms * 1000000u;
	struct fail why;
	char        path[PATHS_MAX];
	json_t     *j = NULL;
	int         fd;

	if (socket_lock_path(path, socket, &why))
		return NULL;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	/* A shared lock, released at once. flock(2) cannot wait with a deadline: try again every 10
	 * ms. */
	while (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK) {
		if (io_now_ns() >= until) {
			close(fd);
			return NULL;
		}
		poll(NULL, 0, 10);
	}
	j = socket_lock_read(fd);
	close(fd);
	if (json_is_array(json_object_get(j, "events")))
		return j;
	json_decref(j);     /* killed: no epitaph */
	return NULL;
}
