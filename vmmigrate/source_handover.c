/* SPDX-License-Identifier: MIT */
#include "vmmigrate/source_handover.h"

#include "libcommon/client/moves.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "vmmigrate/find.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between two tries, doubled from first to last: a target that restarts is found soon, one that is
 * gone is not flooded. */
#define SOURCE_HANDOVER_FIRST_MS  100u
#define SOURCE_HANDOVER_LAST_MS   2000u
/* The VM runs here again while ABORT is tried; the target asks by itself when it hears nothing. */
#define SOURCE_HANDOVER_ABORT_NS  (2 * WIRE_SECOND)
#define SOURCE_HANDOVER_ABORT_MS  200

/* ---- the right to resolve the move ---- */

/* 0: the move has no outcome yet. 1: it has the outcome `want`. -1: another one, or the record
 * cannot be read. ours: the caller holds the VM's lock. */
static int source_handover_record(struct source_handover *h, bool ours, enum move_state want,
				  struct fail *why)
{
	struct judged  *j  = calloc(1, sizeof(*j));
	enum move_state state;
	uint64_t        of;
	int             rc = -1;

	if (!j)
		return fail_sys(why, "record");
	if (find_judged(&h->vm, ours, j, why) == 0) {
		if (!j->found || !moves_find(&j->r, &h->move, &state, &of))
			fail_set(why, FAIL_OWNER, "%s: missing record of this move", h->name);
		else if (state == MOVE_RELEASED || state == MOVE_RETAKING)
			rc = 0;
		else if (state == want)
			rc = 1;
		else {
			h->resolved = true;
			fail_set(why, FAIL_OWNER,
				 "%s: this move was resolved in the meantime: record state %s",
				 h->name, move_state_names[state]);
		}
		control_close(j->c);
	}
	free(j);
	return rc;
}

/* Is the lease still valid? Whatever the reply to SYNC is, a reply shows that it is. */
static bool source_handover_leased(struct source_handover *h)
{
	struct fail ignored;

	if (!h->lease || h->lease->lost != FAIL_NONE)
		return false;
	lease_sync(h->lease, NULL, NULL, &ignored);
	return h->lease->lost == FAIL_NONE;
}

void source_handover_drop(struct source_handover *h)
{
	if (h->own == h->lease || (h->lease && h->lease->lost != FAIL_NONE))
		h->lease = NULL;
	lease_close(h->own);
	h->own = NULL;
	moves_unlock(&h->vm, &h->lock_fd);
}

/* want: as source_handover_record()'s, which is called when the right had to be taken: while nobody
 * had it, another process may have resolved the move. */
static int source_handover_hold_for(struct source_handover *h, enum move_state want,
				    struct fail *why)
{
	struct control *c  = NULL;
	int             rc = -1;

	if (h->lock_fd >= 0 || source_handover_leased(h))
		return 0;
	/* While it was not held, the peer may have heard `released` and started the VM. */
	if (h->keep)
		return fail_set(why, FAIL_OWNER,
				"%s: vmrun exited: VM not taken back; see vmmigrate status %s",
				h->name, h->name);
	source_handover_drop(h);
	switch (find_vm(&h->vm, &c, why)) {
	case FOUND_ALIVE:
		rc = find_lease(&h->own, c, LEASE_KIND_LOG, why);
		h->lease = h->own;
		if (rc)
			why->kind = FAIL_OWNER;
		break;
	case FOUND_NONE:
		rc = moves_lock(&h->vm, NULL, LEASE_WAIT_MS, &h->lock_fd, why);
		break;
	case FOUND_UNRESOLVED:
		break;
	}
	control_close(c);
	if (rc == 0)
		rc = source_handover_record(h, h->lock_fd >= 0, want, why);
	/* Kept, the next call would take it for one whose record has been checked. */
	if (rc < 0)
		source_handover_drop(h);
	return rc;
}

int source_handover_hold(struct source_handover *h, struct fail *why)
{
	int rc = source_handover_hold_for(h, MOVE_STATES, why);

	h->here_alive = h->lock_fd < 0;
	return rc;
}

/* Without a vmrun, with the VM's lock held: writes the record file. */
static int source_handover_write(const struct source_handover *h, enum move_state state,
				 uint64_t generation, struct fail *why)
{
	struct move_record *r  = malloc(sizeof(*r));
	int                 rc = -1;
	bool                found;

	if (!r)
		return fail_sys(why, "record");
	if (moves_read_synced(&h->vm, r, &found, why) == 0) {
		if (!found || !uuid_equal(&r->move, &h->move)) {
			fail_set(why, FAIL_OWNER, "%s: missing record of this move", h->name);
		} else {
			/* It never goes back: an older copy of the VM would pass for newer. */
			if (generation < r->generation)
				generation = r->generation;
			moves_step(r, state, &h->move, generation, r->peer);
			rc = moves_write(r, why);
		}
	}
	free(r);
	return rc;
}

int source_handover_retaking(struct source_handover *h, bool on, struct fail *why)
{
	if (source_handover_hold(h, why))
		return -1;
	if (h->lock_fd >= 0)
		return source_handover_write(h, on ? MOVE_RETAKING : MOVE_RELEASED, 0, why);
	return lease_retaking(h->lease, &h->move, on, why);
}

/* Records the outcome, by the vmrun that runs or without one. Twice at most: when the lease is
 * lost, the call may have been carried out all the same, which the record tells when the right
 * is taken again. */
static int source_handover_conclude(struct source_handover *h, enum move_state outcome,
				    uint64_t generation, bool by_user, struct fail *why)
{
	int rc = -1;

	for (unsigned i = 0; i < 2; i++) {
		int held = source_handover_hold_for(h, outcome, why);

		if (held)
			return held < 0 ? -1 : 0;
		h->here_alive = h->lock_fd < 0;
		if (h->lock_fd >= 0)
			return source_handover_write(h, outcome, generation, why);
		rc = outcome == MOVE_MOVED ? lease_done(h->lease, &h->move, generation, why) :
					     lease_retake(h->lease, &h->move, by_user, why);
		if (rc == 0 || h->lease->lost == FAIL_NONE)
			break;
	}
	return rc;
}

int source_handover_done(struct source_handover *h, uint64_t generation, struct fail *why)
{
	if (generation == 0)
		generation = h->generation + 1;
	return source_handover_conclude(h, MOVE_MOVED, generation, false, why);
}

int source_handover_retake(struct source_handover *h, bool by_user, struct fail *why)
{
	/* The peer may have run the VM, and know of one generation more. */
	return source_handover_conclude(h, MOVE_RETAKEN, by_user ? h->generation + 1 : 0, by_user,
					why);
}

/* ---- GO ---- */

/* RELEASED and GO, then the reply. 0: m is RUNNING or RETURNED. -1: nothing is decided. */
static int source_handover_ask(struct source_handover *h, struct message *m, struct fail *why)
{
	m->vm         = h->vm;
	m->move       = h->move;
	m->generation = h->generation;
	m->type       = MSG_RELEASED;
	if (wire_send_message(h->wire, m, why))
		return -1;
	m->type = MSG_GO;
	if (wire_send_message(h->wire, m, why))
		return -1;
	fault_point("vmmigrate.source.go-sent");
	if (wire_recv_message(h->wire, m, WIRE_GO_NS, why))
		return -1;
	/* The target has known a later generation of the VM: it ran there and was moved on. */
	if (m->type == MSG_ANSWER && m->state == ANSWER_SUPERSEDED) {
		m->type       = MSG_RUNNING;
		m->generation = 0;
		m->alive      = false;
		return 0;
	}
	if (m->type == MSG_ANSWER)
		return fail_set(why, FAIL_OWNER, "%s: %s%s%s", h->wire->peer,
				answer_state_names[m->state], m->reason[0] ? ": " : "", m->reason);
	if ((m->type != MSG_RUNNING && m->type != MSG_RETURNED) ||
	    !uuid_equal(&m->move, &h->move) || !uuid_equal(&m->vm, &h->vm))
		return fail_set(why, FAIL_OWNER, "%s: expected RUNNING or RETURNED, got %s",
				h->wire->peer, message_type_names[m->type]);
	return 0;
}

static int source_handover_try(struct source_handover *h, struct message *m, struct fail *why)
{
	/* Between two tries the right may get lost, when vmrun exits, and another process may
	 * resolve the move: then GO must not be said any more. */
	if (!h->wire && (source_handover_hold(h, why) ||
			 wire_connect(&h->wire, &h->peer, h->insecure, why)))
		return -1;
	/* From here on only the reply or its deadline ends the wait: a signal that cut it short
	 * would leave the outcome unknown without need. stop_fd is checked between tries. */
	h->wire->watch[0].fd = h->wire->watch[1].fd = -1;
	int rc = source_handover_ask(h, m, why);

	wire_close(h->wire);
	h->wire = NULL;
	return rc;
}

/* GO until the target replies, the time is over, or stop_fd is readable. */
static int source_handover_go(struct source_handover *h, struct message *m, struct fail *why)
{
	uint64_t until = io_now_ns() + h->timeout_ns;
	unsigned pause = SOURCE_HANDOVER_FIRST_MS;

	while (source_handover_try(h, m, why)) {
		uint64_t      now  = io_now_ns();
		uint64_t      left = now < until ? (until - now) / 1000000 : 0;
		struct pollfd p    = { .fd = h->stop_fd, .events = POLLIN };

		if (h->resolved || left == 0 || poll(&p, 1, (int)(left < pause ? left : pause)) > 0)
			return -1;
		pause = pause * 2 < SOURCE_HANDOVER_LAST_MS ? pause * 2 : SOURCE_HANDOVER_LAST_MS;
	}
	return 0;
}

static int source_handover_running(struct source_handover *h, const struct message *m,
				   struct fail *why)
{
	char text[400];

	h->running_ns = io_now_ns();
	h->alive      = m->alive;
	fault_point("vmmigrate.source.running-heard");
	/* The VM has moved whatever becomes of the record here. One that stays RELEASED does no
	 * harm: the VM cannot be started by it, and `resume` or `resolve` ends it. */
	if (source_handover_done(h, m->generation, why))
		snprintf(h->note, sizeof(h->note), "the local record was not updated: %.280s",
			 fail_text(why, text, sizeof(text)));
	return 0;
}

static int source_handover_returned(struct source_handover *h, const struct message *m,
				    struct fail *why)
{
	char text[400], peer[ADDRESS_TEXT_MAX];

	address_text(&h->peer, peer);
	if (source_handover_retake(h, false, why)) {
		fail_text(why, text, sizeof(text));
		return fail_set(why, FAIL_OWNER,
				"%s: returned by %s, but could not be taken back: %.200s", h->name,
				peer, text);
	}
	if (h->here_alive)
		return fail_set(why, FAIL_PEER,
				"%s could not start the VM: %.160s; %s continues here", peer,
				m->reason, h->name);
	return fail_set(why, FAIL_ENDED,
			"%s could not start the VM: %.120s; vmrun exited here: its memory is lost",
			peer, m->reason);
}

int source_handover_run(struct source_handover *h, struct fail *why)
{
	struct message *m = calloc(1, sizeof(*m));
	char            peer[ADDRESS_TEXT_MAX], text[400];
	int             rc;

	if (!m)
		return fail_set(why, FAIL_OWNER,
				"%s: out of memory: released, GO not sent; use vmmigrate resume %s",
				h->name, h->name);
	address_text(&h->peer, peer);
	if (source_handover_go(h, m, why)) {
		fail_text(why, text, sizeof(text));
		rc = h->resolved ? -1 :
		     fail_set(why, FAIL_OWNER,
			      "%s: unresolved: released to %s, which has not confirmed that it "
			      "runs (%.120s); not running here; use vmmigrate resume %s",
			      h->name, peer, text, h->name);
	} else {
		rc = m->type == MSG_RUNNING ? source_handover_running(h, m, why) :
					      source_handover_returned(h, m, why);
	}
	source_handover_drop(h);
	free(m);
	return rc;
}

static int source_handover_abort_once(const struct source_handover *h, struct message *m,
				      const char *reason, struct fail *why)
{
	struct wire *w;
	int          rc;

	if (wire_connect(&w, &h->peer, h->insecure, why))
		return -1;
	m->type     = MSG_ABORT;
	m->vm       = h->vm;
	m->move     = h->move;
	m->has_move = true;
	m->generation = h->generation;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	rc = wire_send_message(w, m, why);
	if (rc == 0)
		rc = wire_recv_message(w, m, WIRE_GO_NS, why);
	wire_close(w);
	/* `unknown` is no end: the target may be loading STATE, and record READY in a moment. */
	if (rc == 0 && m->type == MSG_ANSWER)
		rc = fail_set(why, FAIL_PEER, "%s", answer_state_names[m->state]);
	return rc;
}

void source_handover_abort(const struct source_handover *h, const char *reason)
{
	uint64_t        until = io_now_ns() + SOURCE_HANDOVER_ABORT_NS;
	struct message *m     = calloc(1, sizeof(*m));
	struct fail     ignored;

	while (m && source_handover_abort_once(h, m, reason, &ignored) && io_now_ns() < until) {
		struct pollfd p = { .fd = h->stop_fd, .events = POLLIN };

		if (poll(&p, 1, SOURCE_HANDOVER_ABORT_MS) > 0)
			break;
	}
	free(m);
}
