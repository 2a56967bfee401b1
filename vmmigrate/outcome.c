/* SPDX-License-Identifier: MIT */
#include "vmmigrate/outcome.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "vmmigrate/find.h"
#include "vmmigrate/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long vmrun may take to notice that the lease was closed, and to write what became of a
 * release to a slow disk. */
#define OUTCOME_RELEASE_NS (10 * WIRE_SECOND)
#define OUTCOME_AGAIN_MS   20

static void outcome_answer(struct message *out, enum answer_state state, const struct fail *why)
{
	out->type  = MSG_ANSWER;
	out->state = state;
	out->alive = false;
	out->reason[0] = '\0';
	if (why && why->kind != FAIL_NONE)
		fail_text(why, out->reason, sizeof(out->reason));
}

/* Only if no vmrun of the VM runs: takes the VM's lock, which the caller does not hold, and writes
 * another state for the latest move, from -> to. FAIL_OWNER: the record is of another move by now,
 * or in a third state. */
static int outcome_without_vmrun(const struct move_record *r, enum move_state from,
				 enum move_state to, struct fail *why)
{
	struct move_record now;
	bool               found;
	int                fd, rc = -1;

	/* While this process holds the lock no vmrun of the VM runs, and none can start. */
	if (moves_lock(&r->vm, NULL, 0, &fd, why))
		return -1;
	if (moves_read_synced(&r->vm, &now, &found, why) == 0) {
		if (found && now.state == from && uuid_equal(&now.move, &r->move)) {
			moves_step(&now, to, &now.move, now.generation, now.peer);
			rc = moves_write(&now, why);
		} else if (found && now.state == to && uuid_equal(&now.move, &r->move)) {
			rc = 0;
		} else {
			fail_set(why, FAIL_OWNER, "%s: this move was resolved in the meantime",
				 r->name);
		}
	}
	moves_unlock(&r->vm, &fd);
	return rc;
}

/* ---- at the source: a release without a reply ---- */

int outcome_release(const struct uuid *vm, const struct uuid *move, const char *name,
		    struct fail *why)
{
	uint64_t        until = io_now_ns() + OUTCOME_RELEASE_NS;
	struct judged  *j     = calloc(1, sizeof(*j));
	struct fail     first = *why;
	enum move_state state;
	uint64_t        of;
	int             rc = -1;

	/* Until vmrun has noticed that the lease was closed, its record says MOVING. */
	do {
		state = MOVE_STATES;
		if (j && find_judged(vm, false, j, why) == 0) {
			if (!j->found || !moves_find(&j->r, move, &state, &of))
				state = MOVE_STATES;
			control_close(j->c);
		}
	} while (state == MOVE_MOVING && j->alive && io_now_ns() < until &&
		 poll(NULL, 0, OUTCOME_AGAIN_MS) == 0);
	/* A vmrun that ended while its record said MOVING has not released the VM, and nobody else
	 * can: ABORTED is recorded for it. */
	if (state == MOVE_RELEASED)
		rc = 0;
	else if (state == MOVE_ABORTED)
		*why = first;
	else if (state == MOVE_MOVING && !j->alive &&
		 outcome_without_vmrun(&j->r, MOVE_MOVING, MOVE_ABORTED, why) == 0)
		*why = first;
	else
		fail_set(why, FAIL_OWNER,
			 "%s: unresolved: no reply from vmrun to the release (%.160s); "
			 "see vmmigrate status %s", name, first.what, name);
	free(j);
	return rc;
}

/* ---- at the target: GO and ABORT ---- */

static int outcome_verb(struct lease *l, const struct uuid *move, bool go, struct fail *why)
{
	if (!go)
		return lease_abort(l, move, why);
	if (lease_start(l, move, why))
		return -1;
	fault_point("vmmigrate.target.started");
	return 0;
}

/* For a record READY: start or abort by the vmrun that runs, or RETURNED is recorded when none
 * does. why: what failed, or why it is RETURNED. */
static void outcome_ready(struct judged *j, bool go, struct fail *why)
{
	struct lease *l = NULL;

	if (!j->alive) {
		if (outcome_without_vmrun(&j->r, MOVE_READY, MOVE_RETURNED, why) == 0)
			fail_set(why, FAIL_ENDED, "vmrun at the target exited before the VM ran");
		return;
	}
	if (find_lease(&l, j->c, LEASE_KIND_INCOMING, why) == 0)
		outcome_verb(l, &j->r.move, go, why);
	lease_close(l);
}

/* What the record says of the move, as a reply to GO or ABORT. READY is not yet decided. why: what
 * failed before. */
static void outcome_by_record(const struct judged *j, const struct uuid *move, uint64_t generation,
			      const struct fail *why, struct message *out)
{
	enum move_state state;
	uint64_t        of;

	if (!j->found || !moves_find(&j->r, move, &state, &of)) {
		bool superseded = j->found && generation < j->r.generation;

		outcome_answer(out, superseded ? ANSWER_SUPERSEDED : ANSWER_UNKNOWN, NULL);
		return;
	}
	switch (state) {
	case MOVE_OWNED:
		out->type       = MSG_RUNNING;
		out->generation = of;
		/* Alive because of that move: no longer when the VM has been moved on since. */
		out->alive = j->alive && !moves_open(j->r.state) && j->r.state != MOVE_MOVED;
		return;
	case MOVE_RETURNED:
		/* Not on disk yet: a vmrun that is killed now would leave OWNED behind, which
		 * allows the VM to be started here, while the source takes it back. */
		if (j->stale) {
			outcome_answer(out, ANSWER_UNDECIDED, why);
			return;
		}
		out->type = MSG_RETURNED;
		snprintf(out->reason, sizeof(out->reason), "discarded");
		if (why->kind != FAIL_NONE)
			fail_text(why, out->reason, sizeof(out->reason));
		return;
	case MOVE_READY:
		outcome_answer(out, ANSWER_UNDECIDED, why);
		return;
	default:      /* this host was the source of that move: the peer asks the wrong host */
		outcome_answer(out, ANSWER_UNKNOWN, NULL);
	}
}

void outcome_act(const struct uuid *vm, const struct uuid *move, uint64_t generation, bool go,
		 struct lease *lease, struct message *out)
{
	struct fail    why = { 0 }, unknown = { 0 };
	struct judged *j   = calloc(1, sizeof(*j));
	bool           acted;

	out->vm        = *vm;
	out->move      = *move;
	out->reason[0] = '\0';
	if (!j) {
		fail_sys(&unknown, "record");
		outcome_answer(out, ANSWER_UNDECIDED, &unknown);
		return;
	}
	/* With the caller's lease first. When that is lost on the way, the call may have been
	 * carried out or not: the judged record tells. */
	acted = lease && lease->lost == FAIL_NONE;
	if (acted)
		outcome_verb(lease, move, go, &why);
	for (;;) {
		if (find_judged(vm, false, j, &unknown)) {
			outcome_answer(out, ANSWER_UNDECIDED, &unknown);
			break;
		}
		if (!acted && j->found && j->r.state == MOVE_READY &&
		    uuid_equal(&j->r.move, move)) {
			outcome_ready(j, go, &why);
			control_close(j->c);
			acted = true;
			continue;
		}
		outcome_by_record(j, move, generation, &why, out);
		control_close(j->c);
		break;
	}
	free(j);
}

/* ---- QUERY ---- */

/* The target asks this host, the source. Only a trace of that move decides; the absence of a record
 * says nothing. */
static enum answer_state outcome_query_source(struct judged *j, const struct uuid *move,
					      struct fail *why)
{
	enum move_state state;
	uint64_t        of;

	if (!j->found || !moves_find(&j->r, move, &state, &of))
		return ANSWER_UNKNOWN;
	switch (state) {
	case MOVE_RELEASED:
	case MOVE_MOVED:
		return ANSWER_RELEASED;
	case MOVE_ABORTED:
	case MOVE_RETAKEN:
		return ANSWER_ABORTED;
	case MOVE_MOVING:
		/* Only the vmrun that wrote it can release it. */
		if (j->alive || outcome_without_vmrun(&j->r, MOVE_MOVING, MOVE_ABORTED, why))
			return ANSWER_UNDECIDED;
		return ANSWER_ABORTED;
	case MOVE_RETAKING:
		/* It ends with the lease or lock under which it was written: with no vmrun and a
		 * free lock the process that was taking the VM back has ended. */
		return j->alive ? ANSWER_UNDECIDED : ANSWER_RELEASED;
	default:
		return ANSWER_UNKNOWN;
	}
}

static enum answer_state outcome_query_target(const struct judged *j, const struct message *q)
{
	static const enum answer_state states[MOVE_STATES] = {
		[MOVE_MOVING]   = ANSWER_UNKNOWN,
		[MOVE_RELEASED] = ANSWER_UNKNOWN,
		[MOVE_RETAKING] = ANSWER_UNKNOWN,
		[MOVE_ABORTED]  = ANSWER_UNKNOWN,
		[MOVE_RETAKEN]  = ANSWER_UNKNOWN,
		[MOVE_MOVED]    = ANSWER_UNKNOWN,
		[MOVE_READY]    = ANSWER_READY,
		[MOVE_OWNED]    = ANSWER_OWNED,
		[MOVE_RETURNED] = ANSWER_RETURNED,
	};
	enum move_state state;
	uint64_t        of;

	if (j->found && moves_find(&j->r, &q->move, &state, &of))
		return state == MOVE_RETURNED && j->stale ? ANSWER_UNDECIDED : states[state];
	return j->found && q->generation < j->r.generation ? ANSWER_SUPERSEDED : ANSWER_UNKNOWN;
}

void outcome_query(const struct message *query, struct message *out)
{
	struct fail    why = { 0 };
	struct judged *j   = calloc(1, sizeof(*j));

	out->vm   = query->vm;
	out->move = query->move;
	if (!j || find_judged(&query->vm, false, j, &why)) {
		outcome_answer(out, ANSWER_UNDECIDED, &why);
	} else {
		enum answer_state state = query->from_target ?
					  outcome_query_source(j, &query->move, &why) :
					  outcome_query_target(j, query);

		outcome_answer(out, state, &why);
		out->alive = j->alive;
		control_close(j->c);
	}
	free(j);
}

/* ---- asking ---- */

/* The port of --answer closes with the vmmigrate that had it. Then a listener of that host may know
 * what became of the move; one that does not replies `unknown`, which decides nothing. */
static int outcome_connect(const struct move_record *r, bool insecure, struct wire **w,
			   struct fail *why)
{
	struct address a;
	struct fail    ignored;

	if (address_parse(&a, r->peer, false, why))
		return -1;
	if (wire_connect(w, &a, insecure, why) == 0)
		return 0;
	if (r->state != MOVE_READY || why->sys != ECONNREFUSED || !strcmp(a.port, ADDRESS_PORT))
		return -1;
	snprintf(a.port, sizeof(a.port), "%s", ADDRESS_PORT);
	return wire_connect(w, &a, insecure, &ignored);
}

int outcome_ask_peer(const struct move_record *r, bool insecure, struct message *m,
		     struct fail *why)
{
	struct wire *w;

	if (outcome_connect(r, insecure, &w, why))
		return -1;
	m->type        = MSG_QUERY;
	m->vm          = r->vm;
	m->move        = r->move;
	m->generation  = r->generation;
	m->from_target = r->state == MOVE_READY;
	snprintf(m->name, sizeof(m->name), "%s", r->name);
	int rc = wire_send_message(w, m, why);

	if (rc == 0)
		rc = wire_recv_message(w, m, WIRE_GO_NS, why);
	if (rc == 0 && (m->type != MSG_ANSWER || !uuid_equal(&m->vm, &r->vm) ||
			!uuid_equal(&m->move, &r->move)))
		rc = fail_set(why, FAIL_PEER, "%s: expected ANSWER, got %s", r->peer,
			      message_type_names[m->type]);
	wire_close(w);
	return rc;
}

void outcome_ask(const struct move_record *r, bool insecure, struct message *out)
{
	struct fail why;

	if (outcome_ask_peer(r, insecure, out, &why))
		outcome_answer(out, ANSWER_UNDECIDED, &why);
	else if (out->state == ANSWER_RELEASED || out->state == ANSWER_ABORTED)
		outcome_act(&r->vm, &r->move, r->generation, out->state == ANSWER_RELEASED, NULL,
			    out);
}
