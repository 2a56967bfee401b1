/* SPDX-License-Identifier: MIT */
#include "vmmigrate/status.h"

#include "libcommon/client/moves.h"
#include "vmmigrate/find.h"
#include "vmmigrate/outcome.h"
#include "vmmigrate/source_handover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `resolve`: the user decides where no peer can be queried (docs/protocol.md 8). The peer is
 * queried before the user confirms and once more after it: the confirmation may take hours, and
 * the peer may become reachable in the meantime. */

/* In place of the peer's ANSWER. */
#define RESOLVE_NO_REPLY ANSWER_STATES

static enum answer_state resolve_ask(const struct options *o, const struct move_record *r,
				     struct fail *why)
{
	struct message   *m = calloc(1, sizeof(*m));
	struct fail       lost;
	enum answer_state state = RESOLVE_NO_REPLY;
	char              text[400];

	if (!m) {
		fail_sys(why, "resolve");
		return RESOLVE_NO_REPLY;
	}
	if (outcome_ask_peer(r, o->insecure, m, &lost)) {
		printf("%s cannot be queried: %s\n", r->peer, fail_text(&lost, text, sizeof(text)));
	} else {
		state = m->state;
		printf("%s reports for this move: %s\n", r->peer, answer_state_names[state]);
	}
	free(m);
	return state;
}

/* May --own proceed? Only what the peer has said for certain allows it; --peer-is-dead stands in
 * for a peer that says nothing, but not against one that says it has the VM. */
static int resolve_own_allowed(const struct options *o, const struct move_record *r,
			       enum answer_state s, struct fail *why)
{
	const char *reply = s == RESOLVE_NO_REPLY ? "no reply" : answer_state_names[s];

	if (r->state == MOVE_READY) {
		if (s == ANSWER_RELEASED)
			return 0;
		if (s == ANSWER_ABORTED)
			return fail_set(why, FAIL_OWNER,
					"%s aborted the move and may run the VM: it would run "
					"twice; use --disown to discard it here", r->peer);
	} else {
		if (s == ANSWER_RETURNED)
			return 0;
		if (s == ANSWER_OWNED || s == ANSWER_READY || s == ANSWER_SUPERSEDED)
			return fail_set(why, FAIL_OWNER,
					"%s has the VM (%s): it would run twice; "
					"use vmmigrate resume %s", r->peer, reply, r->name);
	}
	if (o->peer_is_dead)
		return 0;
	return fail_set(why, FAIL_OWNER,
			"%s (%s) may run the VM, or have moved it on: it would run twice; "
			"if that host is permanently lost and the VM runs nowhere else: "
			"vmmigrate resolve %s --own --peer-is-dead", r->peer, reply, r->name);
}

/* May --disown proceed? Not when the copy here is the only one. At a source `ready` and `owned` are
 * handled before: there GO ends the move. */
static int resolve_disown_allowed(const struct move_record *r, enum answer_state s,
				  struct fail *why)
{
	if (r->state == MOVE_READY && s == ANSWER_RELEASED)
		return fail_set(why, FAIL_OWNER,
				"%s has released the VM: the only copy is here; --own runs it",
				r->peer);
	if (r->state != MOVE_READY && s == ANSWER_RETURNED)
		return fail_set(why, FAIL_OWNER,
				"%s has returned the VM: the only copy is here; --own runs it",
				r->peer);
	return 0;
}

static void resolve_show(const struct move_record *r, bool alive)
{
	printf("%s: %s here, peer %s, %s\n", r->name, move_state_names[r->state], r->peer,
	       alive ? "vmrun running here" : "vmrun not running here");
	if (r->state != MOVE_READY) {
		printf("  --own     if the VM never ran at %s and never will: it %s\n"
		       "            If it does run there, both copies write to the same disks "
		       "and corrupt them.\n", r->peer,
		       alive ? "continues here." : "may be started or restored here again.");
		printf("  --disown  if the VM runs at %s, or will: remove it here%s\n"
		       "            If it does not, it runs nowhere%s\n", r->peer,
		       alive ? "; its vmrun exits." : ".",
		       alive ? ", and its memory here is lost." : ".");
	} else {
		printf("  --own     if %s has released the VM, or is permanently lost: %s\n"
		       "            If it runs there, both copies write to the same disks "
		       "and corrupt them.\n", r->peer,
		       alive ? "run it here." : "remove the record; its memory here is lost.");
		printf("  --disown  if the VM runs at %s, or will: discard it here.\n"
		       "            If %s has released it, its memory is lost.\n", r->peer,
		       r->peer);
	}
}

static int resolve_confirm(const struct options *o, const struct move_record *r, struct fail *why)
{
	char line[80] = "";

	if (o->yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard input is not a terminal: confirm with --yes");
	printf("%s %s%s? Type the VM's name to confirm: ", o->own ? "Own" : "Disown", r->name,
	       o->peer_is_dead ?
	       ", with its peer permanently lost and the VM running nowhere else" : "");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin))
		line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, r->name))
		return fail_set(why, FAIL_USAGE, "not confirmed, nothing changed");
	return 0;
}

/* ---- at a target that is READY ---- */

/* Carries out GO or ABORT in place of the source. */
static int resolve_ready_act(const struct options *o, const struct move_record *r, bool alive,
			     struct fail *why)
{
	struct message *m = calloc(1, sizeof(*m));
	int             rc = 0;

	if (!m)
		return fail_sys(why, "resolve");
	outcome_act(&r->vm, &r->move, r->generation, o->own, NULL, m);
	if (m->type == MSG_RUNNING && o->own)
		printf("%s: running here\n", r->name);
	else if (m->type == MSG_RETURNED && (o->disown || !alive))
		printf("%s: discarded here\n", r->name);
	else
		rc = fail_set(why, FAIL_OWNER, "%s: %s: %s", r->name, message_type_names[m->type],
			      m->reason[0] ? m->reason :
			      m->type == MSG_ANSWER ? answer_state_names[m->state] : "");
	free(m);
	return rc;
}

static int resolve_ready_judge(const struct options *o, const struct move_record *r,
			       struct fail *why)
{
	enum answer_state s = resolve_ask(o, r, why);

	return o->own ? resolve_own_allowed(o, r, s, why) : resolve_disown_allowed(r, s, why);
}

static int resolve_ready(const struct options *o, const struct move_record *r, bool alive,
			 struct fail *why)
{
	if (resolve_ready_judge(o, r, why) || resolve_confirm(o, r, why) ||
	    resolve_ready_judge(o, r, why))
		return -1;
	return resolve_ready_act(o, r, alive, why);
}

/* ---- at a source that has released ---- */

/* by_user: the peer has not said RETURNED, so that the user has to vouch for it. */
static int resolve_own_judge(const struct options *o, const struct move_record *r, bool *by_user,
			     struct fail *why)
{
	enum answer_state s = resolve_ask(o, r, why);

	*by_user = s != ANSWER_RETURNED;
	return resolve_own_allowed(o, r, s, why);
}

static int resolve_own(const struct options *o, const struct move_record *r,
		       struct source_handover *h, struct fail *why)
{
	struct fail ignored;
	bool        by_user;

	/* From here on a peer that asks gets `undecided`, and nobody here says GO. */
	if (source_handover_retaking(h, true, why))
		return -1;
	/* What is judged now would be worthless after a gap in which another process could act. */
	h->keep = true;
	if (resolve_own_judge(o, r, &by_user, why) || resolve_confirm(o, r, why) ||
	    resolve_own_judge(o, r, &by_user, why)) {
		source_handover_retaking(h, false, &ignored);
		return -1;
	}
	if (source_handover_retake(h, by_user, why))
		return -1;
	printf("%s: %s\n", r->name,
	       h->here_alive ? "continues here" : "may be started or restored here again");
	return 0;
}

static int resolve_disown(const struct options *o, const struct move_record *r,
			  struct source_handover *h, struct fail *why)
{
	enum answer_state s = ANSWER_UNKNOWN;

	for (int i = 0; i < 2; i++) {
		s = resolve_ask(o, r, why);
		if (resolve_disown_allowed(r, s, why))
			return -1;
		/* It has the VM, or waits for GO: the move can be completed without the user. */
		if (s == ANSWER_READY || s == ANSWER_OWNED || s == ANSWER_SUPERSEDED) {
			source_handover_drop(h);
			return resume_released(o, r, -1, why);
		}
		if (i == 0 && resolve_confirm(o, r, why))
			return -1;
	}
	if (source_handover_done(h, 0, why))
		return -1;
	printf("%s: removed here%s\n", r->name, h->here_alive ? ", vmrun has exited" : "");
	return 0;
}

static int resolve_released(const struct options *o, const struct move_record *r, struct fail *why)
{
	struct source_handover h;
	int             rc;

	resume_handover(&h, o, r);
	rc = source_handover_hold(&h, why);
	if (rc == 0)
		rc = o->own ? resolve_own(o, r, &h, why) : resolve_disown(o, r, &h, why);
	source_handover_drop(&h);
	return rc;
}

/* ---- a move that is over: only the record is left to remove ---- */

static int resolve_forget(const struct options *o, const struct move_record *r, bool alive,
			  struct fail *why)
{
	int fd, rc;

	if (r->state == MOVE_MOVING)
		return fail_set(why, FAIL_OWNER, "%s: move to %s in progress: nothing to resolve",
				r->name, r->peer);
	if (o->own && r->state != MOVE_RETURNED && r->state != MOVE_MOVED) {
		printf("%s: already owned here\n", r->name);
		return 0;
	}
	if (o->own)
		return fail_set(why, FAIL_USAGE, "%s: %s: no copy of the VM here", r->name,
				move_state_names[r->state]);
	if (alive)
		return fail_set(why, FAIL_OWNER,
				"%s: running here: a running VM cannot be disowned", r->name);
	if (moves_lock(&r->vm, NULL, 0, &fd, why))
		return -1;
	rc = moves_remove(&r->vm, why);
	moves_unlock(&r->vm, &fd);
	if (rc == 0)
		printf("%s: record removed\n", r->name);
	return rc;
}

int resolve_run(const struct options *o, struct fail *why)
{
	struct move_record r;
	bool               alive;

	if (find_record(o->vm, &r, &alive, why))
		return -1;
	if (r.state == MOVE_MOVING || moves_final(r.state))
		return resolve_forget(o, &r, alive, why);
	resolve_show(&r, alive);
	return r.state == MOVE_READY ? resolve_ready(o, &r, alive, why) :
	       resolve_released(o, &r, why);
}
