#include "vmrun/control/handover.h"

#include "libcommon/fault.h"
#include "vmrun/control/records.h"
#include "vmrun/control/server.h"
#include "vmrun/vm.h"

#include <stdio.h>
#include <string.h>

#define HANDOVER_MOVED_AWAY 20     /* vmrun's exit status: design.md 10 */
#define HANDOVER_GIVEN_UP   4      /* an incoming VM that never became ours */

bool handover_in_doubt(const struct control_server *s)
{
	return s->have_move && s->move.state == MOVE_READY && runstate_held_by(s->vm, HOLD_INCOMING);
}

bool handover_arrived(const struct control_server *s)
{
	return s->loaded && s->have_move && s->move.state == MOVE_OWNED && !runstate_held_by(s->vm, HOLD_INCOMING);
}

uint64_t handover_generation(const struct control_server *s)
{
	return s->have_move ? s->move.generation : 0;
}

/* The record is of that move, and of no other. */
static int handover_same(const struct control_server *s, const struct uuid *move, struct fail *why)
{
	char ours[UUID_TEXT], theirs[UUID_TEXT];

	if (s->have_move && uuid_equal(&s->move.move, move))
		return 0;
	uuid_text(move, theirs);
	if (!s->have_move)
		return fail_set(why, FAIL_OWNER, "move %s: this VM has no record of it", theirs);
	uuid_text(&s->move.move, ours);
	return fail_set(why, FAIL_OWNER, "move %s: this VM's record is of move %s (%s)", theirs, ours, move_state_names[s->move.state]);
}

/* ---- source ---- */

int handover_release(struct control_server *s, const struct uuid *move, const char *peer, struct fail *why)
{
	struct vm  *vm = s->vm;
	struct fail undo;

	if (runstate_held_by(vm, HOLD_RELEASED))
		return handover_same(s, move, why);     /* asked again: it is done */
	if (!runstate_held_by(vm, HOLD_LEASE))
		return fail_set(why, FAIL_REFUSED, "release: the VM is not paused by this lease");
	if (uuid_is_nil(move) || !peer[0])
		return fail_set(why, FAIL_USAGE, "release: needs a move's id and the peer's address");
	if (vm_disks_known(vm, why))
		return -1;
	fault_point("vmrun.source.paused");
	/* Held before the record is written: from its rename on nothing may run this VM, whatever fails after it. */
	if (runstate_hold(vm, HOLD_RELEASED, why))
		return -1;
	if (records_write(s, MOVE_RELEASED, move, handover_generation(s), peer, why)) {
		runstate_drop(vm, HOLD_RELEASED, &undo);     /* the lease still holds it */
		return -1;
	}
	fault_point("vmrun.source.released");
	board_own(vm->board, false, &undo);     /* to the target and to nobody else */
	return 0;
}

int handover_retake(struct control_server *s, const struct uuid *move, struct fail *why)
{
	struct vm  *vm         = s->vm;
	uint64_t    generation = handover_generation(s);
	struct fail undo;
	int         rc;

	if (!runstate_held_by(vm, HOLD_RELEASED))
		return fail_set(why, FAIL_OWNER, "retake: the VM is not released");
	if (handover_same(s, move, why) || board_own(vm->board, true, why))
		return -1;
	if (vm_disks_retaken(vm, why)) {
		board_own(vm->board, false, &undo);
		return -1;
	}
	/* A VM that had come here by an earlier move is owned as before it was released. */
	rc = generation ? records_write(s, MOVE_OWNED, &s->move.move, generation, s->move.peer, why) : records_remove(s, why);
	if (rc) {
		board_own(vm->board, false, &undo);
		return -1;
	}
	return runstate_drop(vm, HOLD_RELEASED, why);
}

int handover_done(struct control_server *s, const struct uuid *move, struct fail *why)
{
	if (!runstate_held_by(s->vm, HOLD_RELEASED))
		return fail_set(why, FAIL_OWNER, "done: the VM is not released");
	if (handover_same(s, move, why) || records_remove(s, why))
		return -1;
	fault_point("vmrun.source.done");
	vm_end(s->vm, RUN_POSTMIGRATE, HANDOVER_MOVED_AWAY, "host-qmp-quit");
	return 0;
}

/* ---- target ---- */

int handover_ready(struct control_server *s, const struct uuid *move, const char *peer, uint64_t generation, struct fail *why)
{
	if (handover_in_doubt(s))
		return handover_same(s, move, why);
	if (!runstate_held_by(s->vm, HOLD_INCOMING) || !s->loaded || !s->written || s->spoilt)
		return fail_set(why, FAIL_REFUSED, "ready: RAM and state are not both in place");
	if (uuid_is_nil(move) || generation >= INT64_MAX)
		return fail_set(why, FAIL_USAGE, "ready: needs a move's id and a sound generation");
	/* We gave this VM away, and whoever offers it now has it from before that: not from whom we gave it to. */
	if (s->have_move && s->move.state == MOVE_RELEASED && s->move.generation >= generation)
		return fail_set(why, FAIL_OWNER, "ready: this host has released the VM to %.80s as generation %llu, and is offered "
				"generation %llu: vmmigrate resolve", s->move.peer, (unsigned long long)s->move.generation,
				(unsigned long long)generation);
	fault_point("vmrun.target.loaded");
	/* Before the source can release: from then on the disks are never without one of us. */
	if (board_own(s->vm->board, false, why) || records_write(s, MOVE_READY, move, generation, peer, why))
		return -1;
	fault_point("vmrun.target.ready");
	return 0;
}

/* Nobody ran here and nobody will: the source may take it back. The VM ends whatever the disk says. */
static int handover_return(struct control_server *s, const char *reason, struct fail *why)
{
	int rc = 0;

	if (s->have_move && s->move.state != MOVE_RETURNED)
		rc = records_write(s, MOVE_RETURNED, &s->move.move, s->move.generation, s->move.peer, why);
	s->spoilt = true;
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: %.250s", reason);
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_GIVEN_UP, "host-error");
	return rc;
}

static int handover_start_failed(struct control_server *s, struct fail *why)
{
	struct fail record;
	char        text[300];

	board_own(s->vm->board, false, &record);
	fail_text(why, text, sizeof(text));
	if (handover_return(s, text, &record))
		fail_prefix(why, "(and RETURNED could not be recorded) ");
	return -1;
}

int handover_start(struct control_server *s, const struct uuid *move, struct fail *why)
{
	struct vm *vm = s->vm;

	if (handover_arrived(s))
		return handover_same(s, move, why);     /* GO is repeated until it is answered */
	if (!handover_in_doubt(s) || s->spoilt)
		return fail_set(why, FAIL_OWNER, "start: the VM is not ready for a start");
	if (handover_same(s, move, why))
		return -1;
	if (board_own(vm->board, true, why) || vm_disks_check(vm, why))
		return handover_start_failed(s, why);

	uint64_t generation = s->move.generation;

	if (records_write(s, MOVE_OWNED, move, generation + 1, s->move.peer, why))
		return handover_start_failed(s, why);
	fault_point("vmrun.target.owned");
	/* started is false up to here, so dropping the holder cannot run anything yet; devices that do not resume fail before
	 * a vCPU has run an instruction. */
	if (runstate_drop(vm, HOLD_INCOMING, why) || vm_start(vm, why)) {
		vm->run.holders |= HOLD_INCOMING;
		s->move.generation = generation;
		return handover_start_failed(s, why);
	}
	fault_point("vmrun.target.running");
	return 0;
}

int handover_abort(struct control_server *s, const struct uuid *move, struct fail *why)
{
	if (!runstate_held_by(s->vm, HOLD_INCOMING))
		return fail_set(why, FAIL_OWNER, "abort: the VM is ours and may be running");
	if (handover_in_doubt(s))
		return handover_same(s, move, why) ? -1 : handover_return(s, "the move was aborted", why);
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: the move was aborted");
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_GIVEN_UP, "host-error");
	return 0;
}

void handover_lost(struct control_server *s, const char *reason)
{
	if (s->vm->run.ended || !runstate_held_by(s->vm, HOLD_INCOMING) || handover_in_doubt(s))
		return;
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: the lease was lost before READY: %.200s", reason);
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_GIVEN_UP, "host-error");
}

int handover_resolve(struct control_server *s, bool own, const struct uuid *move, struct fail *why)
{
	struct uuid id = move ? *move : s->move.move;

	if (handover_in_doubt(s))
		return own ? handover_start(s, &id, why) : handover_abort(s, &id, why);
	return own ? handover_retake(s, &id, why) : handover_done(s, &id, why);
}
