/* SPDX-License-Identifier: MIT */
#include "vmmigrate/spawn.h"

#include "libcommon/client/moves.h"
#include "libcommon/io.h"
#include "vmmigrate/find.h"
#include "vmmigrate/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shorter than WIRE_AGREE_NS, the source's wait for AGREE: it should get the reason, not a
 * timeout. */
#define SPAWN_START_NS (45 * WIRE_SECOND)
/* A vmrun without a lease exits by itself; one that takes longer is told to, then killed. */
#define SPAWN_END_NS   (5 * WIRE_SECOND)
/* A VM that comes back may find its old vmrun still exiting, with its disks to be flushed. */
#define SPAWN_CLAIM_MS 15000u
#define SPAWN_AGAIN_MS 10
#define SPAWN_ARGS_MAX 512

const char *spawn_override(char **v, const char *name)
{
	const char *found = NULL;
	size_t      n     = strlen(name);

	for (; v && *v; v++) {
		if (strncmp(*v, "--", 2) || strncmp(*v + 2, name, n))
			continue;
		if ((*v)[2 + n] == '=')
			found = *v + 3 + n;
		else if ((*v)[2 + n] == '\0' && v[1])
			found = v[1];
	}
	return found;
}

static int spawn_socket(struct spawn *s, const struct options *o, const struct machine *m,
			struct fail *why)
{
	const char *path = spawn_override(o->overrides, "control");
	const char *name = spawn_override(o->overrides, "name");
	/* --control is a path; control_open() takes a word without a slash for a name. */
	const char *dot = path && !strchr(path, '/') ? "./" : "";

	if (path && snprintf(s->socket, sizeof(s->socket), "%s%s", dot, path) >=
		    (int)sizeof(s->socket))
		return fail_set(why, FAIL_USAGE, "--control: path too long");
	return path ? 0 : paths_socket(s->socket, name ? name : m->name, true, why);
}

static int spawn_log(struct spawn *s, const struct machine *m, const struct wire *wire,
		     struct fail *why)
{
	char dir[PATHS_MAX];

	if (paths_runtime(dir, true, why))
		return -1;
	if (snprintf(s->log, sizeof(s->log), "%s/%s.log", dir, m->name) >= (int)sizeof(s->log))
		return fail_set(why, FAIL_SYSTEM, "%s: path too long", dir);
	s->log_fd = open(s->log, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->log_fd < 0)
		return fail_sys(why, "%s", s->log);
	/* The lock is vmrun's for its life, since the file is its standard error: two would mix up
	 * their messages, and truncate each other's. The vmrun of a VM that has just left this
	 * host, and comes back, may still be exiting. */
	uint64_t until = io_now_ns() + SPAWN_END_NS;

	while (flock(s->log_fd, LOCK_EX | LOCK_NB)) {
		int busy = errno == EWOULDBLOCK;

		if (busy && io_now_ns() < until && !wire_pending(wire)) {
			poll(NULL, 0, SPAWN_AGAIN_MS);
			continue;
		}
		io_close(&s->log_fd);
		return busy ? fail_set(why, FAIL_REFUSED,
				       "%s: already in use by a VM of this name", s->log) :
			      fail_sys(why, "%s: lock", s->log);
	}

	off_t end = lseek(s->log_fd, 0, SEEK_END);

	s->log_begin = end > 0 ? (uint64_t)end : 0;
	return 0;
}

/* The vmrun in the folder of this vmmigrate, which is of the same version; else the one in PATH. */
static const char *spawn_vmrun(char path[PATHS_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATHS_MAX - 8);

	if (n > 0 && n < PATHS_MAX - 8) {
		path[n] = '\0';
		char *slash = strrchr(path, '/');

		if (slash) {
			memcpy(slash + 1, "vmrun", sizeof("vmrun"));
			if (access(path, X_OK) == 0)
				return path;
		}
	}
	return "vmrun";
}

/* In the child. What fails is written to the log, which is vmrun's standard error. */
static void spawn_exec(const struct spawn *s, char **argv, int tree) __attribute__((noreturn));
static void spawn_exec(const struct spawn *s, char **argv, int tree)
{
	static const int back[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE };
	sigset_t         none;

	setsid();
	for (size_t i = 0; i < sizeof(back) / sizeof(back[0]); i++)
		signal(back[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(tree, STDIN_FILENO) >= 0 && dup2(s->log_fd, STDERR_FILENO) >= 0)
		execvp(argv[0], argv);
	dprintf(s->log_fd, "vmmigrate: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int spawn_start(struct spawn *s, const struct options *o, const void *tree, size_t len,
		       struct fail *why)
{
	char   path[PATHS_MAX], script[4096];
	char  *argv[SPAWN_ARGS_MAX];
	size_t n  = 0;
	int    fd = io_memfd("vmferry-incoming", tree, len, why);

	if (fd < 0)
		return -1;
	if (o->spawn) {
		snprintf(script, sizeof(script), "exec %s \"$@\"", o->spawn);
		argv[n++] = (char *)(uintptr_t)"/bin/sh";
		argv[n++] = (char *)(uintptr_t)"-c";
		argv[n++] = script;
		argv[n++] = (char *)(uintptr_t)"vmmigrate";
	}
	argv[n++] = (char *)(uintptr_t)spawn_vmrun(path);
	argv[n++] = (char *)(uintptr_t)"--incoming";
	argv[n++] = (char *)(uintptr_t)"-";
	argv[n++] = (char *)(uintptr_t)"--token";
	argv[n++] = s->token;
	for (char **v = o->overrides; v && *v && n < SPAWN_ARGS_MAX - 1; v++)
		argv[n++] = *v;
	argv[n] = NULL;
	s->pid = fork();
	if (s->pid == 0)
		spawn_exec(s, argv, fd);
	if (s->pid < 0)
		fail_sys(why, "fork");
	close(fd);
	return s->pid < 0 ? -1 : 0;
}

const char *spawn_last_line(const struct spawn *s, char *out, size_t capacity)
{
	char    text[4096];
	off_t   end   = lseek(s->log_fd, 0, SEEK_END);
	off_t   begin = (off_t)s->log_begin, most = (off_t)sizeof(text) - 1;
	off_t   at    = end - begin > most ? end - most : begin;
	ssize_t n     = s->log_fd < 0 || end < at ? 0 : pread(s->log_fd, text, (size_t)most, at);
	char   *line;

	out[0] = '\0';
	while (n > 0 && text[n - 1] == '\n')
		n--;
	if (n <= 0)
		return out;
	text[n] = '\0';
	line    = strrchr(text, '\n');
	line    = line ? line + 1 : text;
	if (!strncmp(line, "vmrun: ", 7))
		line += 7;
	snprintf(out, capacity, "%s", line);
	return out;
}

/* Has the process that was started failed? A service manager's client may exit with 0 long before
 * its vmrun does. */
static int spawn_ended(struct spawn *s, const struct options *o, struct fail *why)
{
	char line[256];
	int  status;

	if (s->pid < 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
		return 0;
	s->pid = -1;
	if (o->spawn && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	spawn_last_line(s, line, sizeof(line));
	return fail_set(why, FAIL_REFUSED, "%s",
			line[0] ? line : "vmrun exited without an error message");
}

int spawn_claim(struct spawn *s, const struct uuid *vm, struct fail *why)
{
	return moves_lock(vm, NULL, SPAWN_CLAIM_MS, &s->claim, why);
}

static int spawn_token(struct spawn *s, struct fail *why)
{
	struct uuid random;
	char        text[UUID_TEXT];

	if (uuid_random(&random, why))
		return -1;
	uuid_text(&random, text);
	snprintf(s->token, sizeof(s->token), "%ld.%" PRIu64 ".%s", (long)getpid(),
		 moves_start_time(getpid()), text);
	return 0;
}

/* 0: the socket answers, it is that VM's, and we have its lease. 1: not yet. */
static int spawn_take(struct spawn *s, const struct machine *m, struct fail *why)
{
	struct fail not_yet;
	struct uuid vm;
	char        holder[48];

	if (access(s->socket, F_OK) || control_open(&s->control, s->socket, &not_yet)) {
		s->control = NULL;
		return 1;
	}
	if (find_identity(s->control, &vm, NULL, why))
		return -1;
	if (!uuid_equal(&vm, &m->uuid))
		return fail_set(why, FAIL_REFUSED, "a VM named %s is already running", m->name);
	snprintf(holder, sizeof(holder), "vmmigrate[%ld]", (long)getpid());
	if (lease_open_token(&s->lease, s->control, LEASE_KIND_INCOMING, holder, s->token, why) ||
	    lease_claim(s->lease, s->claim, why))
		return -1;
	io_close(&s->claim);
	return 0;
}

int spawn_open(struct spawn *s, const struct options *o, const struct machine *m, const void *tree,
	       size_t len, const struct wire *wire, struct fail *why)
{
	uint64_t until = io_now_ns() + SPAWN_START_NS;
	char     line[256];
	int      rc;

	if (spawn_socket(s, o, m, why) || spawn_log(s, m, wire, why) || spawn_token(s, why) ||
	    spawn_start(s, o, tree, len, why))
		goto fail;
	while ((rc = spawn_take(s, m, why)) == 1) {
		if (spawn_ended(s, o, why))
			goto fail;
		if (wire_pending(wire)) {
			fail_set(why, FAIL_ENDED, "aborted by the source while vmrun was starting");
			goto fail;
		}
		if (io_now_ns() >= until) {
			spawn_last_line(s, line, sizeof(line));
			fail_set(why, FAIL_REFUSED, "vmrun did not open %.120s within %u s%s%s",
				 s->socket, (unsigned)(SPAWN_START_NS / WIRE_SECOND),
				 line[0] ? ": " : "", line);
			goto fail;
		}
		poll(NULL, 0, SPAWN_AGAIN_MS);
	}
	if (rc == 0)
		return 0;
fail:
	spawn_close(s, false);
	return -1;
}

/* The child is not READY, since only this process could fill it, and exits by itself once its lease
 * is closed. One that has not got as far as the lease gets SIGTERM at once; SIGKILL comes last. No
 * other vmrun is ever signalled. */
static void spawn_end(struct spawn *s, bool leased)
{
	uint64_t until   = io_now_ns() + (leased ? SPAWN_END_NS : 0);
	int      signal_ = SIGTERM;

	while (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == 0) {
		if (io_now_ns() >= until) {
			kill(s->pid, signal_);
			signal_ = SIGKILL;
			until   = io_now_ns() + SPAWN_END_NS;
		}
		poll(NULL, 0, SPAWN_AGAIN_MS);
	}
	s->pid = -1;
}

void spawn_close(struct spawn *s, bool keep)
{
	bool leased = s->lease != NULL;

	lease_close(s->lease);
	control_close(s->control);
	s->lease   = NULL;
	s->control = NULL;
	if (!keep) {
		spawn_end(s, leased);
		/* Its last message went to the source as the reason; an empty log is of no use. */
		if (s->log_fd >= 0 && ftruncate(s->log_fd, (off_t)s->log_begin) == 0 &&
		    s->log_begin == 0)
			unlink(s->log);
	}
	io_close(&s->log_fd);
	/* Last: whoever waits for the lock may start the VM. */
	io_close(&s->claim);
}
