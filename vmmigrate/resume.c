/* SPDX-License-Identifier: MIT */
#include "vmmigrate/status.h"

#include "vmmigrate/find.h"
#include "vmmigrate/handover.h"

#include <stdio.h>
#include <stdlib.h>

int status_record(const char *operand, struct move_record *r, bool *alive, struct fail *why)
{
	struct control *c = NULL;
	struct judged  *j = calloc(1, sizeof(*j));
	struct uuid     vm;
	char            name[VM_NAME_MAX + 1];
	int             rc = -1;

	if (!j)
		return fail_sys(why, "record");
	if (find_operand(operand, &vm, name, &c, why) == 0 && find_judged(&vm, false, j, why) == 0) {
		if (j->found)
			rc = 0;
		else
			fail_set(why, FAIL_USAGE, "%s: no record of a move: nothing to resolve",
				 name);
		*r     = j->r;
		*alive = j->alive;
		control_close(j->c);
	}
	control_close(c);
	free(j);
	return rc;
}

void status_handover(struct handover *h, const struct options *o, const struct move_record *r)
{
	*h = (struct handover){ .vm = r->vm, .move = r->move, .generation = r->generation, .insecure = o->insecure,
				.timeout_ns = o->handover_timeout_ns, .stop_fd = -1, .lock_fd = -1 };
	snprintf(h->name, sizeof(h->name), "%s", r->name);
}

/* GO to the end, for a record that says RELEASED, or RETAKING when whoever was about to take it back has gone. */
int resume_released(const struct options *o, const struct move_record *r, int stop_fd, struct fail *why)
{
	struct handover h;

	status_handover(&h, o, r);
	h.stop_fd = stop_fd;
	if (address_parse(&h.peer, r->peer, false, why))
		return -1;
	if (handover_retaking(&h, false, why)) {
		handover_let_go(&h);
		return -1;
	}
	if (handover_run(&h, why))
		return -1;
	if (!o->quiet)
		printf("%s: %s at %s; record state here: moved\n", r->name,
		       h.alive ? "running" : "no longer running", r->peer);
	if (h.note[0])
		printf("%s: %s\n", r->name, h.note);
	return 0;
}

int resume_run(const struct options *o, int stop_fd, struct fail *why)
{
	struct move_record r;
	bool               alive;

	if (status_record(o->vm, &r, &alive, why))
		return -1;
	if (r.state != MOVE_RELEASED && r.state != MOVE_RETAKING)
		return fail_set(why, FAIL_USAGE,
				"%s: record state %s: nothing to resume; see vmmigrate status %s",
				r.name, move_state_names[r.state], r.name);
	return resume_released(o, &r, stop_fd, why);
}
