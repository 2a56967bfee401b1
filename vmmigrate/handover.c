#include "vmmigrate/handover.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/moves.h"
#include "vmmigrate/find.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDOVER_FIRST_MS  100u
#define HANDOVER_LAST_MS   2000u
#define HANDOVER_ABORT_NS  (2 * WIRE_SECOND)

typedef int handover_verb(struct lease *l, const struct uuid *move, struct fail *why);

/* Has the record that the verb removes gone already, or does it tell of another move? Then nothing is left to do. */
static int handover_record_gone(const struct uuid *vm, const struct uuid *move, bool *gone, struct fail *why)
{
	struct move_record r;
	bool               found;

	if (moves_read(vm, &r, &found, why))
		return -1;
	*gone = !found || !uuid_equal(&r.move, move) || r.state != MOVE_RELEASED;
	return 0;
}

/* No vmrun lives: the lock proves it, and keeps one from starting while the record goes. */
static int handover_without(const struct uuid *vm, const struct uuid *move, struct fail *why)
{
	int  fd, rc = -1;
	bool gone;

	if (moves_lock(vm, &fd, why))
		return -1;
	if (handover_record_gone(vm, move, &gone, why) == 0)
		rc = gone ? 0 : moves_remove(vm, why);
	moves_unlock(vm, &fd);
	return rc;
}

static int handover_settle(const struct uuid *vm, const struct uuid *move, const char *name, struct lease *lease, handover_verb *verb,
			   bool *alive, struct fail *why)
{
	struct control *c  = NULL;
	struct lease   *l  = NULL;
	struct fail     unread;
	int             rc = -1;
	bool            gone;

	if (alive)
		*alive = true;
	if (lease && verb(lease, move, why) == 0)
		return 0;
	/* It may have been done although the answer was lost. */
	if (handover_record_gone(vm, move, &gone, &unread)) {
		*why = unread;
		return -1;
	}
	if (gone)
		return 0;
	/* Refused over a lease that lives: another would be refused for the sake of ours. */
	if (lease && lease->lost == FAIL_NONE)
		return -1;
	switch (find_vm(vm, name, NULL, &c, why)) {
	case FOUND_ALIVE:
		if (find_lease(&l, c, LEASE_KIND_LOG, why) == 0)
			rc = verb(l, move, why);
		break;
	case FOUND_NONE:
		if (alive)
			*alive = false;
		rc = handover_without(vm, move, why);
		break;
	case FOUND_DOUBT:
		break;
	}
	lease_close(l);
	control_close(c);
	return rc;
}

int handover_done(const struct uuid *vm, const struct uuid *move, const char *name, struct lease *lease, bool *alive, struct fail *why)
{
	return handover_settle(vm, move, name, lease, lease_done, alive, why);
}

int handover_retake(const struct uuid *vm, const struct uuid *move, const char *name, struct lease *lease, bool *alive, struct fail *why)
{
	return handover_settle(vm, move, name, lease, lease_retake, alive, why);
}

/* RELEASED and GO, then what the target says. 0: m is RUNNING or RETURNED; -1: nothing decided. */
static int handover_ask(struct handover *h, struct message *m, struct fail *why)
{
	m->vm   = h->vm;
	m->move = h->move;
	m->type = MSG_RELEASED;
	if (wire_send_message(h->wire, m, why))
		return -1;
	m->type = MSG_GO;
	if (wire_send_message(h->wire, m, why))
		return -1;
	fault_point("vmmigrate.source.go-sent");
	if (wire_recv_message(h->wire, m, WIRE_GO_NS, why))
		return -1;
	if (m->type == MSG_ANSWER)
		return fail_set(why, FAIL_OWNER, "%s: %s%s%s", h->wire->peer, answer_state_names[m->state], m->reason[0] ? ": " : "", m->reason);
	if ((m->type != MSG_RUNNING && m->type != MSG_RETURNED) || !uuid_equal(&m->move, &h->move) || !uuid_equal(&m->vm, &h->vm))
		return fail_set(why, FAIL_OWNER, "%s: %s instead of an answer to GO", h->wire->peer, message_type_names[m->type]);
	return 0;
}

static int handover_try(struct handover *h, struct message *m, struct fail *why)
{
	if (!h->wire && wire_connect(&h->wire, &h->peer, h->insecure, why))
		return -1;
	/* From here on nothing but the answer ends the wait: signals stop between tries. */
	h->wire->watch[0].fd = h->wire->watch[1].fd = -1;
	int rc = handover_ask(h, m, why);

	wire_close(h->wire);
	h->wire = NULL;
	return rc;
}

/* GO until it is answered, the time is over, or somebody says stop. */
static int handover_go(struct handover *h, struct message *m, struct fail *why)
{
	uint64_t until = io_now_ns() + h->timeout_ns;
	unsigned pause = HANDOVER_FIRST_MS;

	while (handover_try(h, m, why)) {
		uint64_t      now  = io_now_ns();
		uint64_t      left = now < until ? (until - now) / 1000000 : 0;
		struct pollfd p    = { .fd = h->stop_fd, .events = POLLIN };

		if (left == 0 || poll(&p, 1, (int)(left < pause ? left : pause)) > 0)
			return -1;
		pause = pause * 2 < HANDOVER_LAST_MS ? pause * 2 : HANDOVER_LAST_MS;
	}
	return 0;
}

static int handover_running(struct handover *h, const struct message *m, struct fail *why)
{
	char text[400];

	h->running_ns = io_now_ns();
	h->alive      = m->alive;
	fault_point("vmmigrate.source.running-heard");
	/* The VM has moved whatever becomes of our record; one that stays is harmless and `resume` or `resolve` removes it. */
	if (handover_done(&h->vm, &h->move, h->name, h->lease, NULL, why))
		snprintf(h->note, sizeof(h->note), "the record here stays for now: %.280s", fail_text(why, text, sizeof(text)));
	return 0;
}

static int handover_returned(struct handover *h, const struct message *m, struct fail *why)
{
	char text[400], peer[ADDRESS_TEXT_MAX];
	bool alive = false;

	address_text(&h->peer, peer);
	if (handover_retake(&h->vm, &h->move, h->name, h->lease, &alive, why)) {
		fail_text(why, text, sizeof(text));
		return fail_set(why, FAIL_OWNER, "%s: given back by %s, but it could not be taken back: %.200s", h->name, peer, text);
	}
	if (alive)
		return fail_set(why, FAIL_PEER, "%s could not run it: %.160s; %s runs on here", peer, m->reason, h->name);
	return fail_set(why, FAIL_ENDED, "%s could not run it: %.120s; its vmrun here has ended meanwhile: what it had in memory is lost", peer, m->reason);
}

int handover_run(struct handover *h, struct fail *why)
{
	struct message *m = calloc(1, sizeof(*m));
	char            peer[ADDRESS_TEXT_MAX], text[400];
	int             rc;

	if (!m)
		return fail_set(why, FAIL_OWNER, "%s: released, and no memory to say GO: vmmigrate resume %s", h->name, h->name);
	address_text(&h->peer, peer);
	if (handover_go(h, m, why)) {
		fail_text(why, text, sizeof(text));
		rc = fail_set(why, FAIL_OWNER, "%s: in doubt: it was released to %s, which has not said that it runs (%.120s). It does not run here. "
			      "vmmigrate resume %s asks again", h->name, peer, text, h->name);
	} else {
		rc = m->type == MSG_RUNNING ? handover_running(h, m, why) : handover_returned(h, m, why);
	}
	free(m);
	return rc;
}

static int handover_abort_once(const struct handover *h, struct message *m, const char *reason, struct fail *why)
{
	struct wire *w;
	int          rc;

	if (wire_connect(&w, &h->peer, h->insecure, why))
		return -1;
	m->type     = MSG_ABORT;
	m->vm       = h->vm;
	m->move     = h->move;
	m->has_move = true;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	rc = wire_send_message(w, m, why);
	if (rc == 0)
		rc = wire_recv_message(w, m, WIRE_GO_NS, why);
	wire_close(w);
	/* It may know nothing of the move yet: the one who loads for us is about to record READY. */
	if (rc == 0 && m->type == MSG_ANSWER)
		rc = fail_set(why, FAIL_PEER, "%s", answer_state_names[m->state]);
	return rc;
}

void handover_abort(const struct handover *h, const char *reason)
{
	uint64_t        until = io_now_ns() + HANDOVER_ABORT_NS;
	struct message *m     = calloc(1, sizeof(*m));
	struct fail     ignored;

	while (m && handover_abort_once(h, m, reason, &ignored) && io_now_ns() < until) {
		struct pollfd p = { .fd = h->stop_fd, .events = POLLIN };

		if (poll(&p, 1, 200) > 0)
			break;
	}
	free(m);
}
