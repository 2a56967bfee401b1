#include "vmmigrate/status.h"

#include "libcommon/moves.h"
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

/* Per state and whether its vmrun lives: what it means and what settles it. */
static void status_words(const struct move_record *r, bool alive)
{
	switch (r->state) {
	case MOVE_MOVING:
		puts(alive ? "  A move of it is under way; it has not been released." :
			     "  A move of it was under way when its vmrun ended; it was not released, and may be started here.");
		return;
	case MOVE_READY:
		printf("  It has arrived here whole from the source at %s and waits to hear that the source has let it go.\n", r->peer);
		if (!alive)
			printf("  Its vmrun here has ended, so it can't run here any more; the source will hear that when it asks.\n");
		else
			printf("  Until then it does not run here. A listener here asks the source by itself.\n");
		printf("  In doubt: it may still run at the source, or may have been released to us.\n"
		       "  If the source is lost for good: vmmigrate resolve %s --own runs it here.\n"
		       "  If the source runs it, or shall: vmmigrate resolve %s --disown discards it here.\n", r->name, r->name);
		return;
	case MOVE_RELEASED:
	case MOVE_RETAKING:
		printf("  It was given away to %s and never runs here again by itself; whether it runs there has not been confirmed.\n", r->peer);
		if (r->state == MOVE_RETAKING)
			puts("  Somebody was about to take it back (resolve --own); meanwhile the target is told nothing.");
		printf("  vmmigrate resume %s asks there again, and takes it back if it could not run there.\n", r->name);
		if (!alive)
			printf("  Its vmrun here has ended: what it had in memory is only at the target.\n");
		printf("  If it never ran there and never will: vmmigrate resolve %s --own %s.\n", r->name,
		       alive ? "runs it on here" : "lets it be started or restored here again");
		printf("  If it runs there: vmmigrate resolve %s --disown forgets it here.\n", r->name);
		return;
	case MOVE_OWNED:
		printf("  It came from the source at %s by its move number %" PRIu64 " and is ours. ", r->peer, r->generation);
		puts(alive ? "It runs here." : "It does not run at the moment.");
		return;
	case MOVE_RETURNED:
		printf("  A move to here from %s came to nothing: it never ran here under that move, and the source has it or may take it back.\n", r->peer);
		return;
	case MOVE_ABORTED:
	case MOVE_RETAKEN:
		printf("  A move to %s came to nothing: it is ours. %s\n", r->peer, alive ? "It runs here." : "It does not run at the moment.");
		return;
	case MOVE_MOVED:
		printf("  It has moved to %s.\n", r->peer);
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
	status_words(r, alive);
}

/* What is judged, else what the file says. */
static int status_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct judged *j = calloc(1, sizeof(*j));

	if (!j)
		return fail_sys(why, "record");
	++*(unsigned *)arg;
	if (find_judged(&r->vm, false, j, &(struct fail){ 0 }) == 0) {
		status_print(j->found ? &j->r : r, j->alive ? "its vmrun lives" : "no vmrun of it lives here", j->alive);
		control_close(j->c);
	} else {
		status_print(r, "its vmrun does not answer", true);
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
			puts("no records: no move to or from this host is under way or remembered");
		return rc;
	}
	if (find_operand(o->vm, &vm, name, &c, why))
		return -1;
	control_close(c);
	if (moves_read(&vm, &r, &found, why))
		return -1;
	if (found)
		return status_each(&n, &r, why);
	printf("%s: no record: it runs here and no move of it is under way or remembered\n", name);
	return 0;
}
