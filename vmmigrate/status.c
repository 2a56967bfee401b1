/* SPDX-License-Identifier: MIT */
#include "vmmigrate/status.h"

#include "libcommon/client/moves.h"
#include "vmmigrate/find.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void status_when(uint64_t ns, char out[40])
{
	time_t    s = (time_t)(ns / 1000000000);
	struct tm tm;

	if (!localtime_r(&s, &tm) || strftime(out, 40, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
		snprintf(out, 40, "?");
}

/* What a state means, by whether a vmrun runs, and which command resolves it. */
static void status_explain(const struct move_record *r, bool alive)
{
	switch (r->state) {
	case MOVE_MOVING:
		puts(alive ? "  A move is in progress; the VM has not been released." :
			     "  vmrun exited during a move; the VM was not released "
			     "and may be started here.");
		return;
	case MOVE_READY:
		printf("  Received completely from %s; waiting for the source to release it.\n",
		       r->peer);
		if (!alive)
			printf("  vmrun has exited here, so the VM cannot run here; "
			       "the source is told when it asks.\n");
		else
			printf("  Until then it is kept paused; "
			       "a listener here queries the source.\n");
		printf("  Unresolved: it may run at the source, or may have been released.\n"
		       "  If the source is permanently lost: vmmigrate resolve %s --own "
		       "runs it here.\n"
		       "  If the source runs it, or will: vmmigrate resolve %s --disown "
		       "discards it here.\n", r->name, r->name);
		return;
	case MOVE_RELEASED:
	case MOVE_RETAKING:
		printf("  Released to %s, which has not confirmed that it runs; "
		       "not running here.\n",
		       r->peer);
		if (r->state == MOVE_RETAKING)
			puts("  resolve --own is in progress or was interrupted; "
			     "until it ends no GO is sent.");
		printf("  vmmigrate resume %s queries the target, "
		       "and takes the VM back if it could not run there.\n", r->name);
		if (!alive)
			printf("  vmrun has exited here: the VM's memory is only at the target.\n");
		printf("  If it never ran there and never will: vmmigrate resolve %s --own %s.\n",
		       r->name,
		       alive ? "continues it here" :
		       "allows it to be started or restored here again");
		printf("  If it runs there: vmmigrate resolve %s --disown removes it here.\n",
		       r->name);
		return;
	case MOVE_OWNED:
		printf("  Moved here from %s (generation %" PRIu64 "); owned by this host. ",
		       r->peer, r->generation);
		puts(alive ? "Running here." : "Not running.");
		return;
	case MOVE_RETURNED:
		printf("  A move from %s failed: the VM never ran here; "
		       "the source has it or may take it back.\n", r->peer);
		return;
	case MOVE_ABORTED:
	case MOVE_RETAKEN:
		printf("  A move to %s failed: owned by this host. %s\n", r->peer,
		       alive ? "Running here." : "Not running.");
		return;
	case MOVE_MOVED:
		printf("  Moved to %s.\n", r->peer);
		return;
	case MOVE_STATES:
		break;
	}
}

static void status_print(const struct move_record *r, const char *vmrun, bool alive)
{
	char vm[UUID_TEXT], move[UUID_TEXT], when[40];

	uuid_text(&r->vm, vm);
	uuid_text(&r->move, move);
	status_when(r->when_ns, when);
	printf("%s: %s\n", r->name, move_state_names[r->state]);
	printf("  VM %s, move %s, since %s; %s\n", vm, move, when, vmrun);
	status_explain(r, alive);
}

/* The judged record; what the file says when it cannot be judged. */
static int status_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct judged *j = calloc(1, sizeof(*j));

	if (!j)
		return fail_sys(why, "record");
	++*(unsigned *)arg;
	if (find_judged(&r->vm, false, j, &(struct fail){ 0 }) == 0) {
		status_print(j->found ? &j->r : r,
			     j->alive ? "vmrun running" : "vmrun not running here", j->alive);
		control_close(j->c);
	} else {
		status_print(r, "vmrun does not reply", true);
	}
	free(j);
	return 0;
}

int status_run(const struct options *o, struct fail *why)
{
	struct move_record r;
	struct control    *c = NULL;
	struct uuid        vm;
	char               name[VM_NAME_MAX + 1];
	unsigned           n = 0;
	bool               found;

	if (!o->vm) {
		int rc = moves_list(status_each, &n, why);

		if (rc == 0 && n == 0)
			puts("no records of moves on this host");
		return rc;
	}
	if (find_operand(o->vm, &vm, name, &c, why))
		return -1;
	control_close(c);
	if (moves_read(&vm, &r, &found, why))
		return -1;
	if (found)
		return status_each(&n, &r, why);
	printf("%s: no record of a move; running here\n", name);
	return 0;
}
