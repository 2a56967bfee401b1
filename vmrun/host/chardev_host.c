/* SPDX-License-Identifier: MIT */
#include "vmrun/host/chardev_internal.h"

#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

/* --- the terminal: one for the process, and so are its saved settings --- */

static struct {
	_Atomic bool   raw;
	_Atomic bool   taken;       /* stdio belongs to a chardev */
	int            fd;
	struct termios before;
} tty = { .fd = -1 };

void chardev_restore_terminal(void)
{
	sigset_t block, before;
	int      keep = errno;

	if (!atomic_exchange(&tty.raw, false))
		return;
	/* In the background SIGTTOU would stop us instead. */
	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &block, &before);
	tcsetattr(tty.fd, TCSANOW, &tty.before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = keep;
}

static int chardev_raw(struct chardev *c, struct fail *why)
{
	static bool    registered;
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &tty.before))
		return fail_sys(why, "terminal");
	if (tty.fd < 0)
		/* Kept open: it is needed at the very end. */
		tty.fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (tty.fd < 0)
		return fail_sys(why, "terminal");
	if (!registered && atexit(chardev_restore_terminal))
		return fail_set(why, FAIL_SYSTEM, "terminal: cannot be restored at exit");
	registered = true;

	t = tty.before;
	t.c_iflag &= (tcflag_t)~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t.c_lflag &= (tcflag_t)~(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	t.c_cflag = (t.c_cflag & (tcflag_t)~(CSIZE | PARENB)) | CS8;
	/* c_oflag stays, so that our own messages keep their line ends; the guest's carriage
	 * returns do no harm. */
	t.c_cc[VMIN]  = 1;
	t.c_cc[VTIME] = 0;
	c->terminal   = true;
	/* Set first: a signal in between then restores unchanged settings, which is harmless. */
	atomic_store(&tty.raw, true);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t))
		return fail_sys(why, "terminal");
	return 0;
}

/* A descriptor of stdout's file that can be written without waiting and without making stdout
 * itself non-blocking: that mode is shared with every other process that has it. */
static int chardev_stdout(struct chardev *c, struct fail *why)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st))
		return errno == EBADF ? 0 : fail_sys(why, "stdout");
	c->out_socket = S_ISSOCK(st.st_mode);
	c->waits      = !isatty(STDOUT_FILENO);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		c->out = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (c->out < 0) {     /* a file or socket, or a terminal that is another user's since su */
		c->out          = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		c->out_blocking = !c->out_socket && !S_ISREG(st.st_mode);
	}
	return c->out < 0 ? fail_sys(why, "stdout") : 0;
}

static int chardev_stdio(struct chardev *c, struct fail *why)
{
	if (atomic_exchange(&tty.taken, true))
		return fail_set(why, FAIL_USAGE, "already used by another serial port");
	c->kind = CHARDEV_STDIO;
	if (chardev_stdout(c, why))
		return -1;
	c->in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (c->in < 0)     /* closed: no input */
		return errno == EBADF ? 0 : fail_sys(why, "stdin");
	if (!isatty(c->in))
		return 0;
	c->escape = true;
	return chardev_raw(c, why);
}

/* --- pty --- */

static int chardev_pty(struct chardev *c, struct fail *why)
{
	struct termios t;

	c->kind = CHARDEV_PTY;
	c->in   = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (c->in < 0 || grantpt(c->in) || unlockpt(c->in) ||
	    ptsname_r(c->in, c->where, sizeof(c->where)))
		return fail_sys(why, "pseudo-terminal");
	c->slave = open(c->where, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->slave < 0 || tcgetattr(c->slave, &t))
		return fail_sys(why, "%s", c->where);
	cfmakeraw(&t);     /* else it would echo the guest's output back to the guest */
	if (tcsetattr(c->slave, TCSANOW, &t))
		return fail_sys(why, "%s", c->where);
	c->out = fcntl(c->in, F_DUPFD_CLOEXEC, 3);
	return c->out < 0 ? fail_sys(why, "%s", c->where) : 0;
}

/* --- file --- */

static int chardev_file(struct chardev *c, const char *path, struct fail *why)
{
	struct stat st;

	c->kind = CHARDEV_FILE;
	/* O_NONBLOCK: a FIFO without a reader fails instead of blocking. */
	c->out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC | O_NONBLOCK,
		      0600);
	if (c->out < 0 || fstat(c->out, &st))
		return fail_sys(why, "%s", path);
	if (S_ISBLK(st.st_mode))
		return fail_set(why, FAIL_REFUSED, "%s: is a block device, not used as a log file",
				path);
	return 0;
}

/* --- unix socket --- */

/* A socket without a listener was left by a VM that died. */
static int chardev_unix_clear(const struct sockaddr_un *a, struct fail *why)
{
	struct stat st;
	int         fd, rc;

	if (lstat(a->sun_path, &st))
		return errno == ENOENT ? 0 : fail_sys(why, "%s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return fail_set(why, FAIL_REFUSED, "%s: exists and is not a socket", a->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_sys(why, "socket");
	rc = connect(fd, (const struct sockaddr *)a, sizeof(*a));
	rc = rc && errno == ECONNREFUSED;
	close(fd);
	if (!rc)
		return fail_set(why, FAIL_REFUSED, "%s: already in use by another program",
				a->sun_path);
	return unlink(a->sun_path) ? fail_sys(why, "%s", a->sun_path) : 0;
}

static int chardev_unix(struct chardev *c, const char *path, struct fail *why)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat        st;

	if (strlen(path) == 0 || strlen(path) >= sizeof(a.sun_path))
		return fail_set(why, FAIL_USAGE,
				"%s: invalid socket path length (valid: 1 to %zu bytes)", path,
				sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (chardev_unix_clear(&a, why))
		return -1;
	c->kind     = CHARDEV_UNIX;
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Before bind, which inherits the mode: at no time may others connect. */
	if (c->listener < 0 || fchmod(c->listener, 0600) ||
	    bind(c->listener, (struct sockaddr *)&a, sizeof(a)))
		return fail_sys(why, "%s", path);
	if (lstat(path, &st) == 0) {
		c->listen_ino = st.st_ino;
		c->listen_dev = st.st_dev;
	}
	snprintf(c->where, sizeof(c->where), "%s", path);
	return listen(c->listener, 1) ? fail_sys(why, "%s", path) : 0;
}

void chardev_unlink(struct chardev *c)
{
	struct stat st;

	if (c->kind == CHARDEV_STDIO)
		atomic_store(&tty.taken, false);
	if (c->kind == CHARDEV_UNIX && c->listen_ino && lstat(c->where, &st) == 0 &&
	    st.st_ino == c->listen_ino && st.st_dev == c->listen_dev)
		unlink(c->where);
}

/* The client hung up, but its last input is still waiting for the guest and hid that. */
static bool chardev_client_gone(struct chardev *c)
{
	struct pollfd p = { .fd = c->in, .events = POLLRDHUP };

	return c->in >= 0 && poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR | POLLRDHUP);
}

void chardev_accept(void *arg, int fd)
{
	struct chardev *c = arg;
	struct ucred    peer;
	socklen_t       len = sizeof(peer);
	struct fail     why;
	int             out;

	if (chardev_client_gone(c))
		chardev_hangup(c);
	if (c->in >= 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) ||
	    (peer.uid != geteuid() && peer.uid != 0)) {
		close(fd);
		return;
	}
	out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (out < 0) {
		close(fd);
		return;
	}
	c->in = fd;
	pthread_mutex_lock(&c->lock);
	chardev_out_gone(c);      /* of a client that half closed, and is replaced now */
	c->out        = out;
	c->out_socket = true;
	pthread_mutex_unlock(&c->lock);
	if (chardev_input_start(c, &why))
		chardev_hangup(c);
}

int chardev_host_open(struct chardev *c, const char *spec, struct fail *why)
{
	const char       *path;
	enum chardev_kind kind = chardev_spec(spec, &path);

	if (path && !path[0])
		kind = CHARDEV_INVALID;
	else
		snprintf(c->where, sizeof(c->where), "%s", spec);
	switch (kind) {
	case CHARDEV_NONE:  return 0;
	case CHARDEV_STDIO: return chardev_stdio(c, why);
	case CHARDEV_PTY:   return chardev_pty(c, why);
	case CHARDEV_FILE:  return chardev_file(c, path, why);
	case CHARDEV_UNIX:  return chardev_unix(c, path, why);
	case CHARDEV_INVALID:
		break;
	}
	return fail_set(why, FAIL_USAGE,
			"invalid value (valid: stdio, pty, file:PATH, unix:PATH, none)");
}
