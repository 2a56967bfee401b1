/* SPDX-License-Identifier: MIT */
#include "vmmigrate/spawn.h"

#include "libcommon/io.h"
#include "libcommon/client/moves.h"
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

#define INCOMING_START_NS (45 * WIRE_SECOND)      /* within the source's patience for AGREE */
#define INCOMING_END_NS   (5 * WIRE_SECOND)
#define INCOMING_CLAIM_MS 15000u
#define INCOMING_AGAIN_MS 10
#define INCOMING_ARGS_MAX 512

const char *incoming_override(char **v, const char *name)
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

static int incoming_socket(struct incoming *in, const struct options *o, const struct machine *m, struct fail *why)
{
	const char *path = incoming_override(o->overrides, "control"), *name = incoming_override(o->overrides, "name");

	if (path && snprintf(in->socket, sizeof(in->socket), "%s%s", strchr(path, '/') ? "" : "./", path) >= (int)sizeof(in->socket))
		return fail_set(why, FAIL_USAGE, "--control: path too long");
	return path ? 0 : paths_socket(in->socket, name ? name : m->name, true, why);
}

static int incoming_log(struct incoming *in, const struct machine *m, const struct wire *wire, struct fail *why)
{
	char dir[PATHS_MAX];

	if (paths_runtime(dir, true, why))
		return -1;
	if (snprintf(in->log, sizeof(in->log), "%s/%s.log", dir, m->name) >= (int)sizeof(in->log))
		return fail_set(why, FAIL_SYSTEM, "%s: path too long", dir);
	in->log_fd = open(in->log, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in->log_fd < 0)
		return fail_sys(why, "%s", in->log);
	/* Kept by vmrun, whose standard error it is: two would mix their messages up, and cut off each other's. The vmrun of a VM that
	 * has just left this host, and comes back, may still be ending. */
	uint64_t until = io_now_ns() + INCOMING_END_NS;

	while (flock(in->log_fd, LOCK_EX | LOCK_NB)) {
		int busy = errno == EWOULDBLOCK;

		if (busy && io_now_ns() < until && !wire_pending(wire)) {
			poll(NULL, 0, INCOMING_AGAIN_MS);
			continue;
		}
		io_close(&in->log_fd);
		return busy ? fail_set(why, FAIL_REFUSED,
				       "%s: already in use by a VM of this name", in->log) :
			      fail_sys(why, "%s: lock", in->log);
	}

	off_t end = lseek(in->log_fd, 0, SEEK_END);

	in->log_begin = end > 0 ? (uint64_t)end : 0;
	return 0;
}

/* vmrun beside us, else whatever PATH finds. */
static const char *incoming_vmrun(char path[PATHS_MAX])
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

/* In the child. Nothing here may fail silently: the log is its stderr. */
static void incoming_exec(const struct incoming *in, char **argv, int tree) __attribute__((noreturn));
static void incoming_exec(const struct incoming *in, char **argv, int tree)
{
	static const int back[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE };
	sigset_t         none;

	setsid();
	for (size_t i = 0; i < sizeof(back) / sizeof(back[0]); i++)
		signal(back[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(tree, STDIN_FILENO) >= 0 && dup2(in->log_fd, STDERR_FILENO) >= 0)
		execvp(argv[0], argv);
	dprintf(in->log_fd, "vmmigrate: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int incoming_start(struct incoming *in, const struct options *o, const void *tree, size_t len, struct fail *why)
{
	char   path[PATHS_MAX], script[4096];
	char  *argv[INCOMING_ARGS_MAX];
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
	argv[n++] = (char *)(uintptr_t)incoming_vmrun(path);
	argv[n++] = (char *)(uintptr_t)"--incoming";
	argv[n++] = (char *)(uintptr_t)"-";
	argv[n++] = (char *)(uintptr_t)"--token";
	argv[n++] = in->token;
	for (char **v = o->overrides; v && *v && n < INCOMING_ARGS_MAX - 1; v++)
		argv[n++] = *v;
	argv[n] = NULL;
	in->pid = fork();
	if (in->pid == 0)
		incoming_exec(in, argv, fd);
	if (in->pid < 0)
		fail_sys(why, "fork");
	close(fd);
	return in->pid < 0 ? -1 : 0;
}

const char *incoming_words(const struct incoming *in, char *out, size_t capacity)
{
	char    text[4096];
	off_t   end = lseek(in->log_fd, 0, SEEK_END);
	off_t   at  = end - (off_t)in->log_begin > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : (off_t)in->log_begin;
	ssize_t n   = in->log_fd < 0 || end < at ? 0 : pread(in->log_fd, text, sizeof(text) - 1, at);
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

/* Has what we started ended with a failure? A service manager's client may end well before its VM does. */
static int incoming_ended(struct incoming *in, const struct options *o, struct fail *why)
{
	char words[256];
	int  status;

	if (in->pid < 0 || waitpid(in->pid, &status, WNOHANG) != in->pid)
		return 0;
	in->pid = -1;
	if (o->spawn && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	incoming_words(in, words, sizeof(words));
	return fail_set(why, FAIL_REFUSED, "%s",
			words[0] ? words : "vmrun exited without an error message");
}

int incoming_claim(struct incoming *in, const struct uuid *vm, struct fail *why)
{
	return moves_lock(vm, NULL, INCOMING_CLAIM_MS, &in->claim, why);
}

static int incoming_token(struct incoming *in, struct fail *why)
{
	struct uuid random;
	char        text[UUID_TEXT];

	if (uuid_random(&random, why))
		return -1;
	uuid_text(&random, text);
	snprintf(in->token, sizeof(in->token), "%ld.%" PRIu64 ".%s", (long)getpid(), moves_start_time(getpid()), text);
	return 0;
}

/* The socket answers, it is our VM's, and we have its lease. 1: not yet. */
static int incoming_take(struct incoming *in, const struct machine *m, struct fail *why)
{
	struct fail not_yet;
	struct uuid vm;
	char        holder[48];

	if (access(in->socket, F_OK) || control_open(&in->control, in->socket, &not_yet)) {
		in->control = NULL;
		return 1;
	}
	if (find_identity(in->control, &vm, NULL, why))
		return -1;
	if (!uuid_equal(&vm, &m->uuid))
		return fail_set(why, FAIL_REFUSED, "a VM named %s is already running", m->name);
	snprintf(holder, sizeof(holder), "vmmigrate[%ld]", (long)getpid());
	if (lease_open_token(&in->lease, in->control, LEASE_KIND_INCOMING, holder, in->token, why) ||
	    lease_claim(in->lease, in->claim, why))
		return -1;
	io_close(&in->claim);
	return 0;
}

int incoming_open(struct incoming *in, const struct options *o, const struct machine *m, const void *tree, size_t len,
		  const struct wire *wire, struct fail *why)
{
	uint64_t until = io_now_ns() + INCOMING_START_NS;
	char     words[256];
	int      rc;

	if (incoming_socket(in, o, m, why) || incoming_log(in, m, wire, why) || incoming_token(in, why) || incoming_start(in, o, tree, len, why))
		goto fail;
	while ((rc = incoming_take(in, m, why)) == 1) {
		if (incoming_ended(in, o, why))
			goto fail;
		if (wire_pending(wire)) {
			fail_set(why, FAIL_ENDED, "aborted by the source while vmrun was starting");
			goto fail;
		}
		if (io_now_ns() >= until) {
			incoming_words(in, words, sizeof(words));
			fail_set(why, FAIL_REFUSED, "vmrun did not open %.120s within %u s%s%s",
				 in->socket, (unsigned)(INCOMING_START_NS / WIRE_SECOND),
				 words[0] ? ": " : "", words);
			goto fail;
		}
		poll(NULL, 0, INCOMING_AGAIN_MS);
	}
	if (rc == 0)
		return 0;
fail:
	incoming_close(in, false);
	return -1;
}

/* Our own child, which nobody but us can have filled: it is not READY, and its first lease was ours or nobody's. It ends by itself
 * once that lease, or we, are gone; one that has not come so far is told. */
static void incoming_end(struct incoming *in, bool leased)
{
	uint64_t until   = io_now_ns() + (leased ? INCOMING_END_NS : 0);
	int      signal_ = SIGTERM;

	while (in->pid > 0 && waitpid(in->pid, NULL, WNOHANG) == 0) {
		if (io_now_ns() >= until) {
			kill(in->pid, signal_);
			signal_ = SIGKILL;
			until   = io_now_ns() + INCOMING_END_NS;
		}
		poll(NULL, 0, INCOMING_AGAIN_MS);
	}
	in->pid = -1;
}

void incoming_close(struct incoming *in, bool keep)
{
	bool leased = in->lease != NULL;

	lease_close(in->lease);
	control_close(in->control);
	in->lease   = NULL;
	in->control = NULL;
	if (!keep) {
		incoming_end(in, leased);
		/* What it had to say has been said to the source; an empty log is nobody's use. */
		if (in->log_fd >= 0 && ftruncate(in->log_fd, (off_t)in->log_begin) == 0 && in->log_begin == 0)
			unlink(in->log);
	}
	io_close(&in->log_fd);
	io_close(&in->claim);      /* last: its end is what others wait for */
}
