/* SPDX-License-Identifier: MIT */
#include "vmmigrate/listen.h"

#include "libcommon/io.h"
#include "libcommon/paths.h"
#include "vmmigrate/note.h"
#include "vmmigrate/outcome.h"
#include "vmmigrate/slots.h"
#include "vmmigrate/target.h"
#include "vmmigrate/unresolved.h"
#include "vmmigrate/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTEN_DRAINS 8u
/* The records are scanned this often, because other processes may leave one READY too: a child of a
 * listener that was killed, for example. */
#define LISTEN_SCAN_NS (10 * WIRE_SECOND)
/* Refused connections and a lack of descriptors have deadlines that no descriptor reports. */
#define LISTEN_POLL_MS 100

/* A connection that was refused. What it still sends is read and dropped: unread data would make
 * the kernel reset the connection, and the ABORT would be lost. */
struct listen_drain {
	int      fd;
	uint64_t until_ns;
};

struct listener {
	const struct options *o;
	int                   fds[ADDRESS_LISTEN], signal_fd;
	unsigned              nfds;
	struct slots         *slots;
	struct unresolved     unresolved;
	uint64_t              scan_ns;      /* the next scan of the records */
	uint64_t              rest_ns;      /* no accept before: out of descriptors */
	struct listen_drain   drains[LISTEN_DRAINS];
	unsigned              ndrains;
	bool                  ending;       /* told to stop: waits for its children alone */
	int                   status;       /* with --once: of the move; -1 until it is over */
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

/* What a child must not inherit: listening sockets would keep the port in use, blocked signals
 * would make it immune to SIGTERM. */
static void listen_child(struct listener *l)
{
	for (unsigned i = 0; i < l->nfds; i++)
		close(l->fds[i]);
	for (unsigned i = 0; i < l->ndrains; i++)
		close(l->drains[i].fd);
	close(l->signal_fd);
	sigprocmask(SIG_SETMASK, &l->old, NULL);
}

/* ---- connections ---- */

static void listen_undrain(struct listener *l, unsigned i)
{
	close(l->drains[i].fd);
	l->drains[i] = l->drains[--l->ndrains];
}

static void listen_drained(struct listener *l, uint64_t now)
{
	char discard[65536];

	for (unsigned i = 0; i < l->ndrains;) {
		ssize_t n = recv(l->drains[i].fd, discard, sizeof(discard), MSG_DONTWAIT);

		if (now >= l->drains[i].until_ns || n == 0 ||
		    (n < 0 && errno != EAGAIN && errno != EINTR))
			listen_undrain(l, i);
		else
			i++;
	}
}

/* Sends what the socket takes at once: this is the only process that accepts connections, and
 * must not wait for a peer. */
static void listen_refuse(struct listener *l, int fd)
{
	uint8_t      ours[WIRE_PREAMBLE_BYTES];
	struct fail  ignored;
	struct wire *w;
	int          drain = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (wire_open(&w, fd, "peer", &ignored) == 0) {
		wire_preamble_put(ours);
		ssize_t n = send(w->fd, ours, sizeof(ours), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n == (ssize_t)sizeof(ours))
			wire_send_abort(w, "too many connections", &ignored);
		wire_close(w);
	}
	if (drain < 0)
		return;
	shutdown(drain, SHUT_WR);
	if (l->ndrains == LISTEN_DRAINS)
		listen_undrain(l, 0);
	l->drains[l->ndrains++] = (struct listen_drain){
		.fd = drain, .until_ns = io_now_ns() + WIRE_DRAIN_NS,
	};
}

static void listen_accept(struct listener *l, int listen_fd)
{
	bool full;
	int  fd = io_accept(listen_fd, 0, &full), slot;

	if (full)
		l->rest_ns = io_now_ns() + IO_ACCEPT_REST_NS;
	if (fd < 0)
		return;
	slot = slots_take(l->slots, io_now_ns());
	if (slot < 0) {
		listen_refuse(l, fd);
		return;
	}
	pid_t pid = fork();

	if (pid == 0) {
		listen_child(l);
		_exit((int)target_serve(fd, l->o, l->slots, (unsigned)slot));
	}
	close(fd);
	slots_set(l->slots, (unsigned)slot, pid);
	if (pid < 0)
		note("fork: %s", strerror(errno));
}

/* ---- unresolved moves ---- */

/* In a process of its own, since a source may not answer for long: queries one, acts on the
 * answer. */
static enum target_outcome listen_ask(const struct listener *l, const struct unresolved_move *d)
{
	struct move_record r;
	struct message    *m = calloc(1, sizeof(*m));
	struct fail        why;
	char               move[UUID_TEXT];
	bool               found;

	if (!m || moves_read(&d->vm, &r, &found, &why))
		return TARGET_UNRESOLVED;
	if (!found || r.state != MOVE_READY || !uuid_equal(&r.move, &d->move))
		return TARGET_NOTHING;
	uuid_text(&r.move, move);
	outcome_ask(&r, l->o->insecure, m);
	switch (m->type) {
	case MSG_RUNNING:
		note("%s: move %s: released by the source: running here", r.name, move);
		return TARGET_MOVED;
	case MSG_RETURNED:
		note("%s: move %s: aborted: discarded here", r.name, move);
		return TARGET_FAILED;
	default:
		note("%s: move %s: unresolved, VM kept paused: %s: %s", r.name, move, r.peer,
		     m->reason[0] ? m->reason : answer_state_names[m->state]);
		return TARGET_UNRESOLVED;
	}
}

static void listen_ask_due(struct listener *l)
{
	struct unresolved_move *d;

	if (io_now_ns() >= l->scan_ns) {
		unresolved_scan(&l->unresolved, io_now_ns());
		l->scan_ns = io_now_ns() + LISTEN_SCAN_NS;
	}

	while ((d = unresolved_due(&l->unresolved, io_now_ns()))) {
		pid_t pid = fork();

		if (pid == 0) {
			listen_child(l);
			_exit((int)listen_ask(l, d));
		}
		d->asker = pid > 0 ? pid : 0;
		if (pid < 0) {
			d->at_ns = io_now_ns() + WIRE_SECOND;
			note("fork: %s", strerror(errno));
		}
	}
}

/* Milliseconds until the next scan or query. */
static int listen_wait(const struct listener *l)
{
	uint64_t now  = io_now_ns();
	int      scan = l->scan_ns <= now ? 0 : (int)((l->scan_ns - now) / 1000000) + 1;
	int      due  = unresolved_wait(&l->unresolved, now);

	return due >= 0 && due < scan ? due : scan;
}

/* ---- children that have exited ---- */

/* With --once: the listener's status is the move's, once that is over. */
static void listen_finished(struct listener *l, int status)
{
	if (l->o->once && l->status < 0 && (status == TARGET_MOVED || status == TARGET_FAILED))
		l->status = status;
}

static void listen_reap(struct listener *l)
{
	int   status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		/* One that was killed may have left a VM READY: the records tell. */
		int      out = WIFEXITED(status) ? WEXITSTATUS(status) : TARGET_UNRESOLVED;
		uint64_t now = io_now_ns();
		unsigned before;

		if (unresolved_asked(&l->unresolved, pid, out == TARGET_UNRESOLVED, now)) {
			listen_finished(l, out);
			continue;
		}
		if (!slots_free(l->slots, pid))
			continue;
		before = l->unresolved.n;
		if (out == TARGET_UNRESOLVED)
			unresolved_scan(&l->unresolved, now);
		/* Nothing READY after all: then the move has failed. */
		if (out == TARGET_UNRESOLVED && l->unresolved.n == before && before == 0)
			out = TARGET_FAILED;
		listen_finished(l, out);
	}
}

/* Told to stop: accepts no more. A child between READY and the outcome has blocked the signal
 * and is waited for; told a second time the listener kills what is left. */
static void listen_end(struct listener *l)
{
	if (l->ending) {
		slots_kill(l->slots, SIGKILL);
		return;
	}
	l->ending = true;
	for (unsigned i = 0; i < l->nfds; i++)
		io_close(&l->fds[i]);
	slots_kill(l->slots, SIGTERM);
	for (unsigned i = 0; i < l->unresolved.n; i++)
		if (l->unresolved.moves[i].asker)
			kill(l->unresolved.moves[i].asker, SIGTERM);
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

static bool listen_running(const struct listener *l)
{
	return l->ending ? slots_used(l->slots) || unresolved_askers(&l->unresolved) :
	       l->status < 0;
}

static void listen_loop(struct listener *l)
{
	while (listen_running(l)) {
		struct pollfd p[ADDRESS_LISTEN + 1 + LISTEN_DRAINS];
		unsigned      n = 0, ndrains = l->ndrains;

		if (!l->ending)
			listen_ask_due(l);
		int  wait    = l->ending ? -1 : listen_wait(l);
		bool resting = io_now_ns() < l->rest_ns;

		if ((ndrains || resting) && (wait < 0 || wait > LISTEN_POLL_MS))
			wait = LISTEN_POLL_MS;
		for (; n < l->nfds; n++)
			p[n] = (struct pollfd){ .fd = resting ? -1 : l->fds[n], .events = POLLIN };
		p[n++] = (struct pollfd){ .fd = l->signal_fd, .events = POLLIN };
		for (unsigned i = 0; i < ndrains; i++)
			p[n++] = (struct pollfd){ .fd = l->drains[i].fd, .events = POLLIN };
		int ready = poll(p, n, wait);

		listen_drained(l, io_now_ns());
		if (ready <= 0)
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

	/* Both folders are needed for the first VM: what is wrong with them is better told now. */
	if (paths_runtime(dir, true, why) || paths_moves(dir, true, why) ||
	    slots_open(&l.slots, why))
		return -1;
	if (address_listen(&o->to, o->insecure, l.fds, &l.nfds, why))
		return -1;
	listen_signals(&l);
	for (unsigned i = 0; i < l.nfds; i++) {
		if (address_of_socket(&at, l.fds[i], false, why))
			return -1;
		address_text(&at, text);
		note("listening on %s%s", text,
		     o->insecure || o->to.host[0] ? "" :
		     " (this host only; all hosts with --insecure)");
	}
	listen_loop(&l);
	for (unsigned i = 0; i < l.nfds; i++)
		io_close(&l.fds[i]);
	io_close(&l.signal_fd);
	slots_close(l.slots);
	if (l.status >= 0)
		return l.status;
	return o->once ? TARGET_UNRESOLVED : 0;
}
