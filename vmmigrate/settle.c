#include "vmmigrate/settle.h"

#include "libcommon/fault.h"
#include "vmmigrate/find.h"
#include "vmmigrate/note.h"
#include "vmmigrate/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void settle_answer(struct message *out, enum answer_state state, const struct fail *why)
{
	out->type  = MSG_ANSWER;
	out->state = state;
	out->alive = false;
	out->reason[0] = '\0';
	if (why)
		fail_text(why, out->reason, sizeof(out->reason));
}

/* What the record says of that move, as an answer to GO or ABORT; READY is for the caller. why: what went wrong before. */
static void settle_by_record(const struct move_record *r, const struct fail *why, struct message *out)
{
	switch (r->state) {
	case MOVE_OWNED:
		out->type       = MSG_RUNNING;
		out->generation = r->generation;
		out->alive      = find_vm(&r->vm, r->name, NULL, NULL, &(struct fail){ 0 }) != FOUND_NONE;
		return;
	case MOVE_RETURNED:
		out->type = MSG_RETURNED;
		snprintf(out->reason, sizeof(out->reason), "discarded");
		if (why && why->kind != FAIL_NONE)
			fail_text(why, out->reason, sizeof(out->reason));
		return;
	case MOVE_READY:
		settle_answer(out, ANSWER_UNDECIDED, why);
		return;
	case MOVE_RELEASED:      /* of this host as a source: whoever asks is at the wrong place */
		settle_answer(out, ANSWER_UNKNOWN, NULL);
		return;
	case MOVE_STATES:
		break;
	}
	settle_answer(out, ANSWER_UNDECIDED, why);
}

/* READY, and no vmrun lives: with the lock in hand none can start either, so no vCPU of it will ever run. */
static int settle_dead(const struct move_record *ready, struct fail *why)
{
	struct move_record r;
	bool               found;
	int                fd, rc = -1;

	if (moves_lock(&ready->vm, &fd, why))
		return -1;
	if (moves_read(&ready->vm, &r, &found, why) == 0) {
		rc = 0;
		if (found && r.state == MOVE_READY && uuid_equal(&r.move, &ready->move)) {
			r.state = MOVE_RETURNED;
			rc      = moves_write(&r, why);
		}
	}
	moves_unlock(&ready->vm, &fd);
	if (rc == 0)
		fail_set(why, FAIL_ENDED, "its vmrun at the target had ended before it ran");
	return rc;
}

static int settle_verb(struct lease *l, const struct uuid *move, bool go, struct fail *why)
{
	if (!go)
		return lease_abort(l, move, why);
	if (lease_start(l, move, why))
		return -1;
	fault_point("vmmigrate.target.started");
	return 0;
}

/* READY: start or abort by the live vmrun, or settle without one. why: what stood in the way, or explains a RETURNED. */
static void settle_ready(const struct move_record *r, bool go, struct lease *lease, struct fail *why)
{
	struct control *c = NULL;
	struct lease   *l = NULL;

	/* Lost on the way: whether it was carried out, its vmrun or the record will tell. */
	if (lease && lease->lost == FAIL_NONE && (settle_verb(lease, &r->move, go, why) == 0 || lease->lost == FAIL_NONE))
		return;
	switch (find_vm(&r->vm, r->name, NULL, &c, why)) {
	case FOUND_ALIVE:
		if (find_lease(&l, c, LEASE_KIND_INCOMING, why))
			break;
		settle_verb(l, &r->move, go, why);
		break;
	case FOUND_NONE:
		settle_dead(r, why);
		break;
	case FOUND_DOUBT:
		break;
	}
	lease_close(l);
	control_close(c);
}

void settle_act(const struct uuid *vm, const struct uuid *move, bool go, struct lease *lease, struct message *out)
{
	struct move_record r;
	struct fail        why = { 0 }, read;
	bool               found;

	out->vm        = *vm;
	out->move      = *move;
	out->reason[0] = '\0';
	if (moves_read(vm, &r, &found, &read)) {
		settle_answer(out, ANSWER_UNDECIDED, &read);
		return;
	}
	if (!found || !uuid_equal(&r.move, move)) {
		settle_answer(out, ANSWER_UNKNOWN, NULL);
		return;
	}
	if (r.state == MOVE_READY) {
		settle_ready(&r, go, lease, &why);
		/* What counts is what is on disk now, whatever was answered. */
		if (moves_read(vm, &r, &found, &read)) {
			settle_answer(out, ANSWER_UNDECIDED, &read);
			return;
		}
		if (!found || !uuid_equal(&r.move, move)) {
			settle_answer(out, ANSWER_UNKNOWN, NULL);
			return;
		}
	}
	settle_by_record(&r, &why, out);
}

/* Released by the record, and, when its vmrun lives, by that too: a record that a failing disk has kept says nothing. */
static bool settle_released(const struct move_record *r, struct control *c)
{
	struct fail why;
	bool        held = true;

	return r->state == MOVE_RELEASED && (!c || (find_holder(c, "released", &held, &why) == 0 && held));
}

/* The target asks us, the source's host: released, aborted, or too early to say. */
static void settle_query_source(const struct message *q, struct message *out)
{
	struct move_record r;
	struct control    *c = NULL;
	struct lease      *l = NULL;
	struct fail        why;
	bool               found;

	switch (find_vm(&q->vm, q->name, NULL, &c, &why)) {
	case FOUND_ALIVE:
		/* Granted: whoever held one, this move's owner too, has it no more. */
		if (lease_open(&l, c, LEASE_KIND_LOG, "vmmigrate: is a move under way?", &why))
			settle_answer(out, ANSWER_UNDECIDED, &why);
		else
			settle_answer(out, ANSWER_ABORTED, NULL);
		break;
	case FOUND_NONE:
		settle_answer(out, ANSWER_ABORTED, NULL);
		break;
	case FOUND_DOUBT:
		settle_answer(out, ANSWER_UNDECIDED, &why);
		break;
	}
	lease_close(l);
	/* Read last: a release that was on its way has been written by now. */
	if (moves_read(&q->vm, &r, &found, &why))
		settle_answer(out, ANSWER_UNDECIDED, &why);
	else if (found && uuid_equal(&r.move, &q->move))
		settle_answer(out, settle_released(&r, c) ? ANSWER_RELEASED : ANSWER_UNDECIDED, NULL);
	out->alive = c != NULL;
	control_close(c);
}

static void settle_query_target(const struct message *q, struct message *out)
{
	static const enum answer_state states[MOVE_STATES] = {
		[MOVE_READY] = ANSWER_READY, [MOVE_RELEASED] = ANSWER_UNKNOWN, [MOVE_OWNED] = ANSWER_OWNED, [MOVE_RETURNED] = ANSWER_RETURNED,
	};
	struct move_record r;
	struct fail        why;
	bool               found;

	if (moves_read(&q->vm, &r, &found, &why)) {
		settle_answer(out, ANSWER_UNDECIDED, &why);
		return;
	}
	settle_answer(out, found && uuid_equal(&r.move, &q->move) ? states[r.state] : ANSWER_UNKNOWN, NULL);
	out->alive = find_vm(&q->vm, q->name, NULL, NULL, &why) == FOUND_ALIVE;
}

void settle_query(const struct message *query, struct message *out)
{
	out->vm   = query->vm;
	out->move = query->move;
	if (query->from_target)
		settle_query_source(query, out);
	else
		settle_query_target(query, out);
}

int settle_ask_peer(const char *peer, bool insecure, const struct uuid *vm, const struct uuid *move, const char *name, bool from_target,
		    struct message *m, struct fail *why)
{
	struct address a;
	struct wire   *w;

	if (address_parse(&a, peer, false, why) || wire_connect(&w, &a, insecure, why))
		return -1;
	m->type        = MSG_QUERY;
	m->vm          = *vm;
	m->move        = *move;
	m->from_target = from_target;
	snprintf(m->name, sizeof(m->name), "%s", name);
	int rc = wire_send_message(w, m, why);

	if (rc == 0)
		rc = wire_recv_message(w, m, WIRE_GO_NS, why);
	if (rc == 0 && (m->type != MSG_ANSWER || !uuid_equal(&m->vm, vm) || !uuid_equal(&m->move, move)))
		rc = fail_set(why, FAIL_PEER, "%s: %s where ANSWER was due", peer, message_type_names[m->type]);
	wire_close(w);
	return rc;
}

void settle_ask(const struct move_record *r, bool insecure, struct message *out)
{
	struct fail why;

	if (settle_ask_peer(r->peer, insecure, &r->vm, &r->move, r->name, true, out, &why))
		settle_answer(out, ANSWER_UNDECIDED, &why);
	else if (out->state == ANSWER_RELEASED || out->state == ANSWER_ABORTED)
		settle_act(&r->vm, &r->move, out->state == ANSWER_RELEASED, NULL, out);
}

struct settle_run { bool insecure; struct settled *result; struct message *m; };

static int settle_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct settle_run *run = arg;
	char               move[UUID_TEXT];

	(void)why;
	if (r->state != MOVE_READY)
		return 0;
	uuid_text(&r->move, move);
	settle_ask(r, run->insecure, run->m);
	if (run->m->type == MSG_RUNNING) {
		run->result->started++;
		note("%s: move %s: released by its source: runs here", r->name, move);
	} else if (run->m->type == MSG_RETURNED) {
		run->result->discarded++;
		note("%s: move %s: aborted: discarded here", r->name, move);
	} else {
		run->result->left++;
		note("%s: move %s: in doubt, kept and not run: %s: %s", r->name, move, r->peer,
		     run->m->reason[0] ? run->m->reason : answer_state_names[run->m->state]);
	}
	return 0;
}

void settle_all(bool insecure, struct settled *result)
{
	struct settle_run run = { .insecure = insecure, .result = result, .m = calloc(1, sizeof(*run.m)) };
	struct fail       why;

	*result = (struct settled){ 0 };
	/* A damaged record is passed over here; `status` names it. */
	if (run.m)
		moves_list(settle_each, &run, &why);
	else
		result->left++;
	free(run.m);
}

static int settle_ready_each(void *arg, const struct move_record *r, struct fail *why)
{
	(void)why;
	if (r->state == MOVE_READY)
		*(bool *)arg = true;
	return 0;
}

bool settle_any_ready(void)
{
	struct fail why;
	bool        any = false;

	moves_list(settle_ready_each, &any, &why);
	return any;
}
