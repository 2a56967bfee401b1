#include "vmmigrate/listen.h"

#include "libcommon/io.h"
#include "libcommon/paths.h"
#include "vmmigrate/note.h"
#include "vmmigrate/settle.h"
#include "vmmigrate/target.h"
#include "vmmigrate/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTEN_CHILDREN  16u
#define LISTEN_ASK_FIRST (WIRE_SECOND / 2)
#define LISTEN_ASK_LAST  (30 * WIRE_SECOND)

struct listener {
	const struct options *o;
	int                   fds[ADDRESS_LISTEN], signal_fd;
	unsigned              nfds;
	pid_t                 children[LISTEN_CHILDREN];
	unsigned              nchildren;
	pid_t                 asker;
	uint64_t              ask_at, ask_pause;      /* 0: nobody is in doubt */
	bool                  ending;                 /* no more connections; children finish what they must */
	int                   status;                 /* with --once: -1 until a move has come to its end */
	sigset_t              old;
};

static void listen_signals(struct listener *l)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &l->old);
	l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What a child must not keep: listening sockets would keep the port, blocked signals would make it immortal. */
static void listen_child(struct listener *l)
{
	for (unsigned i = 0; i < l->nfds; i++)
		close(l->fds[i]);
	close(l->signal_fd);
	sigprocmask(SIG_SETMASK, &l->old, NULL);
}

static void listen_doubt(struct listener *l)
{
	if (l->ask_at)
		return;
	l->ask_at    = io_now_ns();
	l->ask_pause = LISTEN_ASK_FIRST;
}

static void listen_refuse(int fd)
{
	struct fail  ignored;
	struct wire *w;

	if (wire_open(&w, fd, "peer", &ignored))
		return;
	/* Not a word is waited for: this is the one process that takes connections. */
	uint8_t ours[WIRE_PREAMBLE_BYTES];

	wire_preamble_put(ours);
	if (send(w->fd, ours, sizeof(ours), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(ours))
		wire_send_abort(w, "too many connections here", &ignored);
	wire_close(w);
}

static void listen_accept(struct listener *l, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (l->nchildren == LISTEN_CHILDREN) {
		listen_refuse(fd);
		return;
	}
	pid_t pid = fork();

	if (pid == 0) {
		listen_child(l);
		_exit((int)target_serve(fd, l->o));
	}
	close(fd);
	if (pid > 0)
		l->children[l->nchildren++] = pid;
	else
		note("fork: %s", strerror(errno));
}

static void listen_ask(struct listener *l)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct settled r;

		listen_child(l);
		settle_all(l->o->insecure, &r);
		_exit(r.left ? TARGET_DOUBT : r.started ? TARGET_MOVED : r.discarded ? TARGET_FAILED : TARGET_NOTHING);
	}
	if (pid > 0)
		l->asker = pid;
}

/* With --once: what came of the move, unless it is still open. */
static void listen_settled(struct listener *l, int status)
{
	if (l->o->once && l->status < 0 && (status == TARGET_MOVED || status == TARGET_FAILED))
		l->status = status;
}

static void listen_asked(struct listener *l, int status)
{
	l->asker = 0;
	listen_settled(l, status);
	if (status != TARGET_DOUBT) {
		l->ask_at = 0;
		return;
	}
	l->ask_at    = io_now_ns() + l->ask_pause;
	l->ask_pause = l->ask_pause * 2 < LISTEN_ASK_LAST ? l->ask_pause * 2 : LISTEN_ASK_LAST;
}

static void listen_reap(struct listener *l)
{
	int   status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		/* One that was killed may have left a VM in doubt: only the records know. */
		int out = WIFEXITED(status) ? WEXITSTATUS(status) : TARGET_DOUBT;

		if (pid == l->asker) {
			listen_asked(l, out);
			continue;
		}
		for (unsigned i = 0; i < l->nchildren; i++) {
			if (l->children[i] != pid)
				continue;
			l->children[i] = l->children[--l->nchildren];
			if (out == TARGET_DOUBT && settle_any_ready())
				listen_doubt(l);
			else
				listen_settled(l, out == TARGET_DOUBT ? TARGET_FAILED : out);
			break;
		}
	}
}

/* Told to end: connections are no longer taken; a child that is between READY and its answer has blocked the signal. */
static void listen_end(struct listener *l)
{
	if (l->ending) {
		for (unsigned i = 0; i < l->nchildren; i++)
			kill(l->children[i], SIGKILL);
		return;
	}
	l->ending = true;
	for (unsigned i = 0; i < l->nfds; i++)
		io_close(&l->fds[i]);
	for (unsigned i = 0; i < l->nchildren; i++)
		kill(l->children[i], SIGTERM);
	if (l->asker)
		kill(l->asker, SIGTERM);
}

static void listen_signal(struct listener *l)
{
	struct signalfd_siginfo si;

	while (read(l->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			listen_reap(l);
		else
			listen_end(l);
	}
}

static void listen_loop(struct listener *l)
{
	while (l->ending ? l->nchildren || l->asker : l->status < 0) {
		struct pollfd p[ADDRESS_LISTEN + 1];
		uint64_t      now  = io_now_ns();
		int           wait = -1;

		for (unsigned i = 0; i < l->nfds; i++)
			p[i] = (struct pollfd){ .fd = l->fds[i], .events = POLLIN };
		p[l->nfds] = (struct pollfd){ .fd = l->signal_fd, .events = POLLIN };
		if (l->ask_at && !l->asker && !l->ending) {
			if (now >= l->ask_at)
				listen_ask(l);
			else
				wait = (int)((l->ask_at - now) / 1000000) + 1;
		}
		if (poll(p, l->nfds + 1, wait) <= 0)
			continue;
		if (p[l->nfds].revents)
			listen_signal(l);
		for (unsigned i = 0; i < l->nfds && !l->ending; i++)
			if (p[i].revents)
				listen_accept(l, l->fds[i]);
	}
}

int listen_run(const struct options *o, struct fail *why)
{
	struct listener l = { .o = o, .status = -1 };
	char            text[ADDRESS_TEXT_MAX], dir[PATHS_MAX];
	struct address  at;

	/* Both are needed for the first VM that comes: better to be told now. */
	if (paths_runtime(dir, true, why) || paths_moves(dir, true, why))
		return -1;
	if (address_listen(&o->to, o->insecure, l.fds, &l.nfds, why))
		return -1;
	listen_signals(&l);
	for (unsigned i = 0; i < l.nfds; i++) {
		if (address_of_socket(&at, l.fds[i], false, why))
			return -1;
		address_text(&at, text);
		note("listening on %s%s", text, o->insecure || o->to.host[0] ? "" : " (this host only; --insecure: all)");
	}
	if (settle_any_ready())
		listen_doubt(&l);
	listen_loop(&l);
	for (unsigned i = 0; i < l.nfds; i++)
		io_close(&l.fds[i]);
	io_close(&l.signal_fd);
	return l.status < 0 ? (o->once ? 5 : 0) : l.status;
}
