/* SPDX-License-Identifier: MIT */
#include "vmmigrate/outcome.h"

#include "libcommon/fault.h"
#include "vmmigrate/find.h"
#include "vmmigrate/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void outcome_answer(struct message *out, enum answer_state state, const struct fail *why)
{
	out->type  = MSG_ANSWER;
	out->state = state;
	out->alive = false;
	out->reason[0] = '\0';
	if (why && why->kind != FAIL_NONE)
		fail_text(why, out->reason, sizeof(out->reason));
}

int outcome_without_vmrun(const struct move_record *r, enum move_state from, enum move_state to, struct fail *why)
{
	struct move_record now;
	bool               found;
	int                fd, rc = -1;

	/* With the lock in hand no vmrun lives, and none can start. */
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

/* READY: start or abort by the live vmrun, or settle without one. why: what stood in the way, or explains a RETURNED. */
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

/* What is known of the move, as an answer to GO or ABORT. READY is still undecided. why: what went wrong before. */
static void outcome_by_record(const struct judged *j, const struct uuid *move, uint64_t generation, const struct fail *why,
			     struct message *out)
{
	enum move_state state;
	uint64_t        of;

	if (!j->found || !moves_find(&j->r, move, &state, &of)) {
		outcome_answer(out, j->found && generation < j->r.generation ? ANSWER_SUPERSEDED : ANSWER_UNKNOWN, NULL);
		return;
	}
	switch (state) {
	case MOVE_OWNED:
		out->type       = MSG_RUNNING;
		out->generation = of;
		/* Alive as what that move made of it: not when it has been given away since. */
		out->alive = j->alive && !moves_open(j->r.state) && j->r.state != MOVE_MOVED;
		return;
	case MOVE_RETURNED:
		/* A process that dies before the disk has it would leave OWNED behind, and with it a VM that may be started. */
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
	default:      /* of this host as a source: whoever asks is at the wrong place */
		outcome_answer(out, ANSWER_UNKNOWN, NULL);
	}
}

void outcome_act(const struct uuid *vm, const struct uuid *move, uint64_t generation, bool go, struct lease *lease, struct message *out)
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
	/* Our own lease first. When it is lost on the way, what counts is what is known afterwards, as always. */
	acted = lease && lease->lost == FAIL_NONE;
	if (acted)
		outcome_verb(lease, move, go, &why);
	for (;;) {
		if (find_judged(vm, false, j, &unknown)) {
			outcome_answer(out, ANSWER_UNDECIDED, &unknown);
			break;
		}
		if (!acted && j->found && j->r.state == MOVE_READY && uuid_equal(&j->r.move, move)) {
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

/* The target asks us, the source's host. Only a trace of that move decides. */
static enum answer_state outcome_query_source(struct judged *j, const struct uuid *move, struct fail *why)
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
		/* Whoever was about to take it back holds the lock or the vmrun's lease; without a lock he has given up. */
		return j->alive ? ANSWER_UNDECIDED : ANSWER_RELEASED;
	default:
		return ANSWER_UNKNOWN;
	}
}

static enum answer_state outcome_query_target(const struct judged *j, const struct message *q)
{
	static const enum answer_state states[MOVE_STATES] = {
		[MOVE_MOVING] = ANSWER_UNKNOWN, [MOVE_RELEASED] = ANSWER_UNKNOWN, [MOVE_RETAKING] = ANSWER_UNKNOWN,
		[MOVE_ABORTED] = ANSWER_UNKNOWN, [MOVE_RETAKEN] = ANSWER_UNKNOWN, [MOVE_MOVED] = ANSWER_UNKNOWN,
		[MOVE_READY] = ANSWER_READY, [MOVE_OWNED] = ANSWER_OWNED, [MOVE_RETURNED] = ANSWER_RETURNED,
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
		outcome_answer(out, query->from_target ? outcome_query_source(j, &query->move, &why) : outcome_query_target(j, query), &why);
		out->alive = j->alive;
		control_close(j->c);
	}
	free(j);
}

/* ---- asking ---- */

/* The port of --answer has gone with the vmmigrate that had it. Then a listener of that host may know
 * what became of the move; one that does not says so, and decides nothing. */
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

int outcome_ask_peer(const struct move_record *r, bool insecure, struct message *m, struct fail *why)
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
	if (rc == 0 && (m->type != MSG_ANSWER || !uuid_equal(&m->vm, &r->vm) || !uuid_equal(&m->move, &r->move)))
		rc = fail_set(why, FAIL_PEER, "%s: expected ANSWER, got %s", r->peer, message_type_names[m->type]);
	wire_close(w);
	return rc;
}

void outcome_ask(const struct move_record *r, bool insecure, struct message *out)
{
	struct fail why;

	if (outcome_ask_peer(r, insecure, out, &why))
		outcome_answer(out, ANSWER_UNDECIDED, &why);
	else if (out->state == ANSWER_RELEASED || out->state == ANSWER_ABORTED)
		outcome_act(&r->vm, &r->move, r->generation, out->state == ANSWER_RELEASED, NULL, out);
}
