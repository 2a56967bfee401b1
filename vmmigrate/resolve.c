#include "vmmigrate/status.h"

#include "libcommon/moves.h"
#include "vmmigrate/find.h"
#include "vmmigrate/handover.h"
#include "vmmigrate/settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The record an operand names. */
static int resolve_record(const char *operand, struct move_record *r, struct fail *why)
{
	struct control *c = NULL;
	struct uuid     vm;
	char            name[VM_NAME_MAX + 1];
	bool            found;

	if (find_operand(operand, &vm, name, &c, why))
		return -1;
	control_close(c);
	if (moves_read(&vm, r, &found, why))
		return -1;
	return found ? 0 : fail_set(why, FAIL_USAGE, "%s: no record of a move: nothing is in doubt", name);
}

/* ---- resume ---- */

int resume_run(const struct options *o, int stop_fd, struct fail *why)
{
	struct move_record r;
	struct handover    h = { .insecure = o->insecure, .timeout_ns = o->handover_timeout_ns, .stop_fd = stop_fd };

	if (resolve_record(o->vm, &r, why))
		return -1;
	if (r.state != MOVE_RELEASED)
		return fail_set(why, FAIL_USAGE, "%s: its record says %s: there is nothing to resume; vmmigrate status %s", r.name,
				move_state_names[r.state], r.name);
	h.vm   = r.vm;
	h.move = r.move;
	snprintf(h.name, sizeof(h.name), "%s", r.name);
	if (address_parse(&h.peer, r.peer, false, why) || handover_run(&h, why))
		return -1;
	printf("%s: runs at %s%s; the record here is gone\n", r.name, r.peer, h.alive ? "" : " no more: its vmrun there has ended");
	if (h.note[0])
		printf("%s: %s\n", r.name, h.note);
	return 0;
}

/* ---- resolve ---- */

/* What the other side says, for a human to judge by. FAIL_OWNER when it contradicts what is asked for. */
static int resolve_peer(const struct options *o, const struct move_record *r, struct fail *why)
{
	struct message *m = calloc(1, sizeof(*m));
	struct fail     deaf;
	char            text[400];
	int             rc = 0;

	if (!m)
		return fail_sys(why, "resolve");
	if (settle_ask_peer(r->peer, o->insecure, &r->vm, &r->move, r->name, r->state == MOVE_READY, m, &deaf)) {
		printf("%s can't be asked: %s\n", r->peer, fail_text(&deaf, text, sizeof(text)));
	} else {
		printf("%s says of this move: %s\n", r->peer, answer_state_names[m->state]);
		if (o->own && r->state == MOVE_RELEASED && (m->state == ANSWER_OWNED || m->state == ANSWER_READY))
			rc = fail_set(why, FAIL_OWNER, "%s has it (%s): two would run. vmmigrate resume %s settles it", r->peer,
				      answer_state_names[m->state], r->name);
		else if (o->own && r->state == MOVE_READY && m->state == ANSWER_UNDECIDED)
			rc = fail_set(why, FAIL_OWNER, "%s is still there and may run it: two would run", r->peer);
		else if (o->own && r->state == MOVE_READY && m->state == ANSWER_ABORTED)
			rc = fail_set(why, FAIL_OWNER, "%s has given the move up and may run it: two would run; --disown discards it here", r->peer);
		else if (o->disown && r->state == MOVE_READY && m->state == ANSWER_RELEASED)
			rc = fail_set(why, FAIL_OWNER, "%s has released it to us: what is here is the only one; --own runs it", r->peer);
	}
	free(m);
	return rc;
}

static void resolve_show(const struct move_record *r, enum found f)
{
	printf("%s: %s here, the other side is %s, %s\n", r->name, move_state_names[r->state], r->peer,
	       f == FOUND_ALIVE ? "its vmrun here lives" : "no vmrun of it lives here");
	if (r->state == MOVE_RELEASED) {
		printf("  --own     it never ran at %s and never will: %s\n"
		       "            If it does run there, two will run, write the same disks and destroy them.\n", r->peer,
		       f == FOUND_ALIVE ? "it runs on here." : "it may be started or restored here again.");
		printf("  --disown  it runs at %s, or shall: forget it here%s\n"
		       "            If it does not, nobody runs it%s\n", r->peer, f == FOUND_ALIVE ? ", its vmrun here ends." : ".",
		       f == FOUND_ALIVE ? ", and what it had in memory is lost here." : ".");
	} else {
		printf("  --own     %s has released it, or is lost for good: %s\n"
		       "            If it runs there, two will run, write the same disks and destroy them.\n", r->peer,
		       f == FOUND_ALIVE ? "it runs here." : "forget the move; what it had in memory is lost here.");
		printf("  --disown  it runs at %s, or shall: discard it here.\n"
		       "            If %s has released it, what it had in memory is lost.\n", r->peer, r->peer);
	}
}

static int resolve_confirm(const struct options *o, const struct move_record *r, struct fail *why)
{
	char line[64] = "";

	if (o->yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return fail_set(why, FAIL_USAGE, "nobody can be asked here: --yes says that it is meant");
	printf("%s %s? Type the VM's name to go on: ", o->own ? "Own" : "Disown", r->name);
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin))
		line[strcspn(line, "\n")] = '\0';
	return strcmp(line, r->name) ? fail_set(why, FAIL_USAGE, "left as it is") : 0;
}

/* A target's word of a human instead of GO or ABORT. */
static int resolve_ready(const struct options *o, const struct move_record *r, enum found f, struct fail *why)
{
	struct message *m = calloc(1, sizeof(*m));
	int             rc;

	if (!m)
		return fail_sys(why, "resolve");
	settle_act(&r->vm, &r->move, o->own, NULL, m);
	if (m->type == MSG_RUNNING && o->own)
		rc = printf("%s: runs here\n", r->name) < 0;
	else if (m->type == MSG_RETURNED && (o->disown || f == FOUND_NONE))
		rc = printf("%s: discarded here\n", r->name) < 0;
	else
		rc = fail_set(why, FAIL_OWNER, "%s: %s: %s", r->name, message_type_names[m->type], m->reason);
	free(m);
	return rc ? -1 : 0;
}

static int resolve_released(const struct options *o, const struct move_record *r, struct fail *why)
{
	bool alive;

	if (o->own) {
		if (handover_retake(&r->vm, &r->move, r->name, NULL, &alive, why))
			return -1;
		printf("%s: %s\n", r->name, alive ? "runs on here" : "may be started or restored here again");
		return 0;
	}
	if (handover_done(&r->vm, &r->move, r->name, NULL, &alive, why))
		return -1;
	printf("%s: forgotten here%s\n", r->name, alive ? ", its vmrun has ended" : "");
	return 0;
}

/* Only the file is left to go: OWNED or RETURNED of a VM that does not live here. */
static int resolve_forget(const struct options *o, const struct move_record *r, enum found f, struct fail *why)
{
	int fd, rc;

	if (o->own && r->state == MOVE_OWNED) {
		printf("%s: owned here already\n", r->name);
		return 0;
	}
	if (o->own)
		return fail_set(why, FAIL_USAGE, "%s: returned: nothing of it is here to be owned; the source has it or may take it back", r->name);
	if (f != FOUND_NONE)
		return fail_set(why, FAIL_OWNER, "%s runs here: a VM that runs can't be disowned", r->name);
	if (moves_lock(&r->vm, &fd, why))
		return -1;
	rc = moves_remove(&r->vm, why);
	moves_unlock(&r->vm, &fd);
	if (rc == 0)
		printf("%s: forgotten here\n", r->name);
	return rc;
}

int resolve_run(const struct options *o, struct fail *why)
{
	struct move_record r;
	enum found         f;

	if (resolve_record(o->vm, &r, why))
		return -1;
	f = find_vm(&r.vm, r.name, NULL, NULL, why);
	if (f == FOUND_DOUBT)
		return -1;
	if (r.state == MOVE_OWNED || r.state == MOVE_RETURNED)
		return resolve_forget(o, &r, f, why);
	resolve_show(&r, f);
	if (resolve_peer(o, &r, why) || resolve_confirm(o, &r, why))
		return -1;
	return r.state == MOVE_READY ? resolve_ready(o, &r, f, why) : resolve_released(o, &r, why);
}
