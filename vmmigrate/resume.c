/* SPDX-License-Identifier: MIT */
#include "vmmigrate/status.h"

#include "vmmigrate/find.h"
#include "vmmigrate/source_handover.h"

#include <stdio.h>

void resume_handover(struct source_handover *h, const struct options *o,
		     const struct move_record *r)
{
	*h = (struct source_handover){
		.vm = r->vm, .move = r->move, .generation = r->generation,
		.insecure = o->insecure, .timeout_ns = o->handover_timeout_ns,
		.stop_fd = -1, .lock_fd = -1,
	};
	snprintf(h->name, sizeof(h->name), "%s", r->name);
}

int resume_released(const struct options *o, const struct move_record *r, int stop_fd,
		    struct fail *why)
{
	struct source_handover h;

	resume_handover(&h, o, r);
	h.stop_fd = stop_fd;
	if (address_parse(&h.peer, r->peer, false, why))
		return -1;
	/* Takes the right to resolve the move. A record left as RETAKING becomes RELEASED again:
	 * else a target that asks would get `undecided` as long as this process holds the right. */
	if (source_handover_retaking(&h, false, why)) {
		source_handover_drop(&h);
		return -1;
	}
	if (source_handover_run(&h, why))
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

	if (find_record(o->vm, &r, &alive, why))
		return -1;
	if (r.state != MOVE_RELEASED && r.state != MOVE_RETAKING)
		return fail_set(why, FAIL_USAGE,
				"%s: record state %s: nothing to resume; see vmmigrate status %s",
				r.name, move_state_names[r.state], r.name);
	return resume_released(o, &r, stop_fd, why);
}
