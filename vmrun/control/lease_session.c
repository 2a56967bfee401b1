/* SPDX-License-Identifier: MIT */
#include "vmrun/control/lease_session.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/thread.h"
#include "vmrun/control/qmp_commands.h"
#include "vmrun/control/lease_handover.h"
#include "vmrun/control/server.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSION_SEND_NS 5000000000u      /* limit for a holder that does not read its answers */

/* The lease of that kind. One that was revoked, or whose channel has ended, does not count. */
static struct lease_session *sessions_find(const struct control_server *s, enum lease_kind kind)
{
	for (struct lease_session *g = s->sessions; g; g = g->next)
		if (g->kind == kind && !g->lost && !g->gone)
			return g;
	return NULL;
}

const char *sessions_holder(const struct control_server *s, enum lease_kind kind, const char *none)
{
	const struct lease_session *g = sessions_find(s, kind);

	return g ? g->holder : none;
}

bool sessions_state_moving(const struct control_server *s)
{
	const struct lease_session *g = sessions_find(s, LEASE_KIND_LOG);

	return g && g->paused && g->state_given && s->vm->run.moving;
}

json_t *sessions_json(const struct control_server *s)
{
	json_t *list = json_array();

	for (const struct lease_session *g = s->sessions; g; g = g->next)
		if (!g->gone)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:b, s:b, s:b}",
							"kind", lease_kinds[g->kind].name,
							"holder", g->holder,
							"logging", (int)g->logging,
							"paused", (int)g->paused,
							"lost", (int)g->lost));
	return list;
}

/* Gives back what the session has of the VM. After RELEASE the pause is no longer its own. */
static void session_drop(struct lease_session *g)
{
	struct vm  *vm = g->server->vm;
	struct fail why;

	if (g->throttled)
		vm->accel->ops->throttle(vm->accel, 0);
	g->throttled = false;
	session_log_stop(g);
	if (g->epoch)
		dirty_epoch_abandon(&vm->dirty);
	g->epoch = false;
	if (g->samples)
		blk_forget_samples(vm);
	g->samples = false;
	if (g->paused) {
		g->paused      = false;
		g->deadline_ns = 0;
		/* A VM that cannot be resumed ends: there is no client left to tell, and it must
		 * not stay paused for ever. */
		if (runstate_drop(vm, HOLD_LEASE, &why)) {
			vm->end_why = why;
			vm_end(vm, RUN_INTERNAL_ERROR, 1, CAUSE_HOST_ERROR);
		}
	}
	if (g->moving)
		lease_handover_unmove(g->server);
	g->moving = false;
}

/* Waits at most SESSION_SEND_NS for the socket: a holder that reads nothing must not keep this
 * thread, nor a pause with it. */
static int session_send(struct lease_session *g, const struct lease_msg *m, const int *fds,
			size_t nfds)
{
	uint64_t    until = io_now_ns() + SESSION_SEND_NS, deadline = g->deadline_ns;
	struct fail why;

	if (deadline && deadline < until)
		until = deadline;
	while (io_packet_send(g->fd, m, sizeof(*m), fds, nfds, g->holder, &why)) {
		struct pollfd p[2] = { { .fd = g->fd, .events = POLLOUT },
				       { .fd = g->kick, .events = POLLIN } };
		uint64_t      now  = io_now_ns();

		if (why.sys != EAGAIN || now >= until)
			return -1;
		poll(p, 2, (int)((until - now) / 1000000u) + 1);
		if (p[1].revents)
			return -1;
	}
	return 0;
}

static void session_fill_lost(const struct lease_session *g, struct lease_msg *m, uint32_t serial)
{
	*m = (struct lease_msg){ .verb = LEASE_LOST, .serial = serial, .status = LEASE_FAILED,
				 .kind = (uint32_t)g->lost_kind };
	snprintf(m->text, sizeof(m->text), "%s", g->lost_why);
}

static void session_revoke(struct lease_session *g, enum fail_kind kind, const char *reason)
{
	if (g->lost)
		return;
	g->lost      = true;
	g->lost_kind = kind;
	snprintf(g->lost_why, sizeof(g->lost_why), "%s", reason);
	session_drop(g);
}

static bool session_overdue(const struct lease_session *g)
{
	return g->paused && io_now_ns() >= g->deadline_ns;
}

/* Under control_lock. True: the lease is lost, now or since before. */
static bool session_check(struct lease_session *g)
{
	char reason[200], cause[64];

	if (!g->lost && g->server->vm->run.ended) {
		events_end_reason(g->server, cause, sizeof(cause));
		snprintf(reason, sizeof(reason), "the VM has ended (%s)", cause);
		session_revoke(g, FAIL_ENDED, reason);
	}
	if (!g->lost && session_overdue(g))
		session_revoke(g, FAIL_PEER, "pause deadline exceeded: VM resumed by vmrun");
	return g->lost;
}

/* Waits until the disks have done what a verb needs, its time is up, or the server closes. False:
 * the holder has closed the channel. */
static bool session_wait_disks(struct lease_session *g, const struct session_call *call,
			       enum blk_wait what)
{
	/* of fd only hang-up is waited for */
	struct pollfd others[2] = { { .fd = g->kick, .events = POLLIN }, { .fd = g->fd } };
	uint64_t      until     = g->deadline_ns, ms = call->in->a[0];

	if (ms > SESSION_PAUSE_MS_MAX)
		ms = SESSION_PAUSE_MS_MAX;
	if (what == BLK_WAIT_QUIET)      /* a pause's deadline counts from its request */
		until = call->begin_ns + ms * 1000000u;
	return blk_wait(g->server->vm, what, others, 2, until) || !others[1].revents;
}

/* One request. The deadline is checked before and after, under the lock, so that a revocation and a
 * release cannot both succeed. False: there is nobody to answer. */
static bool session_answer(struct lease_session *g, struct session_call *call)
{
	struct vm        *vm    = g->server->vm;
	struct fail       why   = { 0 };
	struct lease_msg *out   = call->out;
	enum blk_wait     what  = BLK_WAIT_SYNCED;
	bool              there = true;

	*out = (struct lease_msg){ .verb = call->in->verb, .serial = call->in->serial };
	pthread_mutex_lock(&vm->control_lock);
	if (!session_check(g) && session_begin(g, call, &what)) {
		pthread_mutex_unlock(&vm->control_lock);
		there = session_wait_disks(g, call, what);
		pthread_mutex_lock(&vm->control_lock);
	}
	if (there && !session_check(g) && session_execute(g, call, &why)) {
		out->status = why.kind == FAIL_SYSTEM ? LEASE_FAILED : LEASE_REFUSED;
		out->kind   = (uint32_t)why.kind;
		fail_text(&why, out->text, sizeof(out->text));
	}
	if (what == BLK_WAIT_QUIET)
		blk_hold(vm, false);
	/* A request that ended the VM (DONE, ABORT) still gets its own answer. */
	if (!g->lost && session_overdue(g))
		session_check(g);
	if (g->lost) {
		session_fill_lost(g, out, call->in->serial);
		while (call->nfds)
			close(call->fds[--call->nfds]);
	}
	pthread_mutex_unlock(&vm->control_lock);
	return there;
}

static int session_send_regions(struct lease_session *g, uint32_t serial, uint64_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct lease_msg m;
		struct fail      why = { 0 };
		int              fd  = -1, rc;

		if (session_region(g, i, &m, &fd, &why)) {
			m = (struct lease_msg){ .verb = LEASE_REGIONS, .status = LEASE_FAILED,
						.kind = (uint32_t)why.kind };
			fail_text(&why, m.text, sizeof(m.text));
		}
		m.serial = serial;
		rc = session_send(g, &m, &fd, fd >= 0 ? 1 : 0);
		io_close(&fd);
		if (rc || m.status != LEASE_OK)
			return -1;
	}
	return 0;
}

/* False when the channel has ended. */
static bool session_serve(struct lease_session *g)
{
	struct lease_msg    in, out;
	struct session_call call = { .in = &in, .in_fd = -1, .out = &out };
	struct fail         why;
	size_t              got, nfds = 1;
	bool                alive;

	if (io_packet_recv(g->fd, &in, sizeof(in), &got, &call.in_fd, &nfds, 0, g->holder, &why))
		return why.sys == EAGAIN || why.sys == EINTR;
	if (nfds == 0)
		call.in_fd = -1;
	if (got != sizeof(in)) {
		io_close(&call.in_fd);
		return false;
	}
	in.text[sizeof(in.text) - 1] = '\0';
	call.begin_ns = io_now_ns();
	alive = session_answer(g, &call) && session_send(g, &out, call.fds, call.nfds) == 0;
	while (call.nfds)
		close(call.fds[--call.nfds]);
	if (alive && in.verb == LEASE_REGIONS && out.verb == LEASE_REGIONS &&
	    out.status == LEASE_OK)
		alive = session_send_regions(g, in.serial, out.a[0]) == 0;
	io_close(&call.in_fd);
	return alive;
}

/* Tells a holder that sends no requests that its deadline has passed, or that the VM has ended. */
static void session_tell(struct lease_session *g)
{
	struct lease_msg m;
	bool             tell;

	pthread_mutex_lock(&g->server->vm->control_lock);
	tell = !g->lost && session_check(g);
	if (tell)
		session_fill_lost(g, &m, 0);
	pthread_mutex_unlock(&g->server->vm->control_lock);
	if (tell)
		session_send(g, &m, NULL, 0);
}

static void session_leave(struct lease_session *g)
{
	struct vm *vm = g->server->vm;

	fault_point("vmrun.lease.ended");
	pthread_mutex_lock(&vm->control_lock);
	if (!g->lost)
		session_drop(g);
	g->gone = true;
	if (g->kind == LEASE_KIND_INCOMING && !sessions_find(g->server, LEASE_KIND_INCOMING))
		lease_handover_lost(g->server,
				    g->lost ? g->lost_why : "lease closed by its holder");
	pthread_mutex_unlock(&vm->control_lock);
	/* Closed only now: when the holder sees it, all that it had has been given back. */
	shutdown(g->fd, SHUT_RDWR);
	server_wake(g->server);
}

static void *session_main(void *arg)
{
	struct lease_session *g = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = g->fd, .events = POLLIN },
				       { .fd = g->kick, .events = POLLIN } };
		uint64_t      now  = io_now_ns(), deadline = g->deadline_ns;
		int           ms   = -1;

		if (deadline)
			ms = now >= deadline ? 0 : (int)((deadline - now) / 1000000u) + 1;
		if (poll(p, 2, ms) < 0 && errno != EINTR)
			break;
		session_tell(g);
		if (p[1].revents)
			break;
		if (p[0].revents && !session_serve(g))
			break;
	}
	session_leave(g);
	return NULL;
}

/* Has the holder closed the channel? Its thread will see that too, but perhaps later. */
static bool session_hung_up(const struct lease_session *g)
{
	struct pollfd p = { .fd = g->fd };

	return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
}

/* A new lease must not be refused because of one whose holder has just ended. (An incoming lease is
 * left to its own thread: losing it may end the VM.) */
void sessions_drop_ended(struct control_server *s)
{
	for (struct lease_session *g = s->sessions; g; g = g->next)
		if (g->kind == LEASE_KIND_LOG && !g->gone && session_hung_up(g))
			session_revoke(g, FAIL_PEER, "lease closed by its holder");
}

/* May a lease of that kind be opened now? */
static int session_allowed(const struct control_server *s, enum lease_kind kind, const char *token,
			   struct fail *why)
{
	static const unsigned allowed[LEASE_KINDS] = {
		[LEASE_KIND_READ]     = PHASE_FREE | PHASE_LEASED | PHASE_RELEASED,
		[LEASE_KIND_LOG]      = PHASE_FREE | PHASE_LEASED | PHASE_RELEASED,
		[LEASE_KIND_INCOMING] = PHASE_INCOMING | PHASE_UNRESOLVED,
	};
	const char  *what   = lease_kinds[kind].title, *holder = NULL;
	enum phase   phase  = command_phase(s);
	unsigned     n      = 0;

	if (lease_kinds[kind].exclusive)
		holder = sessions_holder(s, kind, NULL);

	for (const struct lease_session *g = s->sessions; g; g = g->next)
		n++;
	if (n >= SESSIONS_MAX)
		return fail_set(why, FAIL_LIMIT,
				"%s: number of open leases exceeds the limit of %u", what, n);
	if (!(allowed[kind] & phase) && !(kind == LEASE_KIND_INCOMING && lease_handover_arrived(s)))
		return command_refuse(s, what, why);
	if (holder)
		return fail_set(why, FAIL_REFUSED, "%s: already in use by %s", what, holder);
	/* Until READY only the process that started this vmrun may fill it: knowing its name is not
	 * enough. */
	if (kind == LEASE_KIND_INCOMING && phase == PHASE_INCOMING && strcmp(s->token, token))
		return fail_set(why, FAIL_REFUSED,
				"%s: invalid token: vmrun was started by another process", what);
	return 0;
}

static int session_thread(struct lease_session *g, struct fail *why)
{
	return thread_start(&g->thread, session_main, g, "lease", why);
}

static void session_free(struct lease_session *g)
{
	io_close(&g->fd);
	io_close(&g->kick);
	free(g);
}

int session_open(struct control_server *s, enum lease_kind kind, const char *holder,
		 const char *token, int *fd, struct fail *why)
{
	struct lease_session *g;
	int                   pair[2];

	sessions_drop_ended(s);
	if (session_allowed(s, kind, token, why))
		return -1;
	if (!holder[0] || strlen(holder) >= SESSION_HOLDER_MAX)
		return fail_set(why, FAIL_USAGE, "Parameter 'holder' expects 1 to %d characters",
				SESSION_HOLDER_MAX - 1);
	g = calloc(1, sizeof(*g));
	if (!g) {
		errno = ENOMEM;
		return fail_sys(why, "lease");
	}
	g->server = s;
	g->kind   = kind;
	g->fd     = -1;
	snprintf(g->holder, sizeof(g->holder), "%s", holder);
	g->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->kick < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		fail_sys(why, "lease");
		session_free(g);
		return -1;
	}
	g->fd = pair[0];
	if (fcntl(g->fd, F_SETFL, O_NONBLOCK)) {
		fail_sys(why, "lease");
		goto fail;
	}
	g->next = s->sessions;     /* before its thread looks for other sessions */
	s->sessions = g;
	if (session_thread(g, why)) {
		s->sessions = g->next;
		goto fail;
	}
	s->token_used |= kind == LEASE_KIND_INCOMING;
	*fd = pair[1];
	return 0;
fail:
	close(pair[1]);
	session_free(g);
	return -1;
}

/* Takes the first session out of the list whose thread has ended, or any. */
static struct lease_session *sessions_take(struct control_server *s, bool any)
{
	struct lease_session *found = NULL;

	pthread_mutex_lock(&s->vm->control_lock);
	for (struct lease_session **p = &s->sessions; *p; p = &(*p)->next)
		if (any || (*p)->gone) {
			found = *p;
			*p    = found->next;
			break;
		}
	pthread_mutex_unlock(&s->vm->control_lock);
	return found;
}

void sessions_reap(struct control_server *s)
{
	struct lease_session *g;

	while ((g = sessions_take(s, false))) {
		pthread_join(g->thread, NULL);
		session_free(g);
	}
}

void sessions_close(struct control_server *s)
{
	struct lease_session *g;
	uint64_t              one = 1;

	pthread_mutex_lock(&s->vm->control_lock);
	for (g = s->sessions; g; g = g->next)
		if (write(g->kick, &one, sizeof(one)) < 0) {
			/* The counter is full: it was woken before. */
		}
	pthread_mutex_unlock(&s->vm->control_lock);
	while ((g = sessions_take(s, true))) {
		pthread_join(g->thread, NULL);
		session_free(g);
	}
}
