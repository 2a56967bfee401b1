/* SPDX-License-Identifier: MIT */
#include "vmrun/control/lease_handover.h"

#include "libcommon/fault.h"
#include "vmrun/control/records.h"
#include "vmrun/control/server.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/vm.h"

#include <stdio.h>
#include <string.h>

#define HANDOVER_MOVED_AWAY VM_EXIT_MOVED
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
		return fail_set(why, FAIL_OWNER, "move %s: not recorded for this VM", theirs);
	uuid_text(&s->move.move, ours);
	return fail_set(why, FAIL_OWNER, "move %s: unexpected, the VM's record is of move %s (%s)",
			theirs, ours, move_state_names[s->move.state]);
}

/* ---- source ---- */

int handover_moving(struct control_server *s, const struct uuid *move, const char *peer, struct fail *why)
{
	enum move_state state;
	uint64_t        generation;

	if (uuid_is_nil(move) || !peer[0])
		return fail_set(why, FAIL_USAGE, "moving: missing move ID or peer address");
	if (s->have_move && !moves_final(s->move.state))
		return fail_set(why, FAIL_OWNER,
				"moving: unexpected in state %s: see vmmigrate status %s",
				move_state_names[s->move.state], s->vm->cfg.name);
	if (s->have_move && moves_find(&s->move, move, &state, &generation))
		return fail_set(why, FAIL_OWNER, "moving: duplicate move ID");
	if (records_write(s, MOVE_MOVING, move, handover_generation(s), peer, why))
		return -1;
	fault_point("vmrun.source.moving");
	return 0;
}

void handover_unmove(struct control_server *s)
{
	struct fail later;

	if (!s->have_move)
		return;
	if (s->move.state == MOVE_MOVING)
		records_decide(s, MOVE_ABORTED, s->move.generation, &later);
	else if (s->move.state == MOVE_RETAKING)
		records_decide(s, MOVE_RELEASED, s->move.generation, &later);
}

int handover_release(struct control_server *s, const struct uuid *move, struct fail *why)
{
	struct vm  *vm = s->vm;
	struct fail undo;

	if (runstate_held_by(vm, HOLD_RELEASED))
		return handover_same(s, move, why);     /* asked again: it is done */
	if (!runstate_held_by(vm, HOLD_LEASE))
		return fail_set(why, FAIL_REFUSED, "release: VM not paused by this lease");
	if (handover_same(s, move, why))
		return -1;
	if (s->move.state != MOVE_MOVING)
		return fail_set(why, FAIL_OWNER, "release: unexpected in state %s, expected moving",
				move_state_names[s->move.state]);
	if (vm_disks_known(vm, why))
		return -1;
	fault_point("vmrun.source.paused");
	/* Held before the record is written: from its rename on nothing may run this VM, whatever fails after it. */
	if (runstate_hold(vm, HOLD_RELEASED, why))
		return -1;
	if (records_write(s, MOVE_RELEASED, move, handover_generation(s), s->move.peer, why)) {
		runstate_drop(vm, HOLD_RELEASED, &undo);     /* the lease still holds it */
		return -1;
	}
	fault_point("vmrun.source.released");
	board_own(vm->board, false, &undo);     /* to the target and to nobody else */
	return 0;
}

/* RELEASED, and of that move. */
static int handover_released(const struct control_server *s, const char *what, const struct uuid *move, struct fail *why)
{
	if (!runstate_held_by(s->vm, HOLD_RELEASED))
		return fail_set(why, FAIL_OWNER, "%s: VM not released", what);
	return handover_same(s, move, why);
}

int handover_retaking(struct control_server *s, const struct uuid *move, bool on, struct fail *why)
{
	if (handover_released(s, "retaking", move, why))
		return -1;
	if ((s->move.state == MOVE_RETAKING) == on)
		return 0;
	return records_write(s, on ? MOVE_RETAKING : MOVE_RELEASED, move, s->move.generation, s->move.peer, why);
}

int handover_retake(struct control_server *s, const struct uuid *move, bool by_word, struct fail *why)
{
	struct vm  *vm = s->vm;
	struct fail undo;

	if (handover_released(s, "retake", move, why) || board_own(vm->board, true, why))
		return -1;
	if (vm_disks_retaken(vm, why)) {
		board_own(vm->board, false, &undo);
		return -1;
	}
	/* The peer may have owned it, and would know a later generation than we offer it the next time. */
	if (records_write(s, MOVE_RETAKEN, move, s->move.generation + (by_word ? 1 : 0), s->move.peer, why)) {
		board_own(vm->board, false, &undo);
		return -1;
	}
	fault_point("vmrun.source.retaken");
	return runstate_drop(vm, HOLD_RELEASED, why);
}

int handover_done(struct control_server *s, const struct uuid *move, uint64_t generation, struct fail *why)
{
	if (handover_released(s, "done", move, why))
		return -1;
	if (generation <= s->move.generation)
		generation = s->move.generation + 1;
	if (records_write(s, MOVE_MOVED, move, generation, s->move.peer, why))
		return -1;
	fault_point("vmrun.source.done");
	vm_end(s->vm, RUN_POSTMIGRATE, HANDOVER_MOVED_AWAY, "host-qmp-quit");
	return 0;
}

/* ---- target ---- */

/* May this move be READY here? What its record says of earlier moves is settled by its generation, or stands in its way. */
static int handover_ready_record(struct control_server *s, const struct uuid *move, uint64_t generation, struct fail *why)
{
	enum move_state state;
	uint64_t        of;

	if (!s->have_move)
		return 0;
	if (moves_find(&s->move, move, &state, &of))
		return fail_set(why, FAIL_OWNER, "ready: move already ended on this host: %s",
				move_state_names[state]);
	if (s->move.generation > generation)
		return fail_set(why, FAIL_OWNER,
				"ready: generation differs: this host has %llu, the peer has %llu",
				(unsigned long long)s->move.generation,
				(unsigned long long)generation);
	if (moves_final(s->move.state))
		return 0;
	/* We gave this VM away, and whoever offers it now has it from before that: not from whom we gave it to. */
	if (s->move.state == MOVE_READY || s->move.generation == generation)
		return fail_set(why, FAIL_OWNER,
			"ready: unexpected in state %s (peer %.80s, generation %llu; offered: "
			"generation %llu): use vmmigrate resolve",
			move_state_names[s->move.state], s->move.peer,
			(unsigned long long)s->move.generation,
			(unsigned long long)generation);
	/* It was run on behind that release, and comes back. */
	s->move.state      = MOVE_MOVED;
	s->move.generation = generation;
	return 0;
}

int handover_ready(struct control_server *s, const struct uuid *move, const char *peer, uint64_t generation, struct fail *why)
{
	if (handover_in_doubt(s))
		return handover_same(s, move, why);
	if (!runstate_held_by(s->vm, HOLD_INCOMING) || !s->loaded || !s->written || s->spoilt)
		return fail_set(why, FAIL_REFUSED, "ready: RAM or state not complete");
	if (uuid_is_nil(move) || generation >= INT64_MAX)
		return fail_set(why, FAIL_USAGE, "ready: missing move ID or invalid generation");
	if (handover_ready_record(s, move, generation, why))
		return -1;
	fault_point("vmrun.target.loaded");
	/* Before the source can release: from then on the disks are never without one of us. */
	if (board_own(s->vm->board, false, why) || records_write(s, MOVE_READY, move, generation, peer, why))
		return -1;
	fault_point("vmrun.target.ready");
	return 0;
}

static void handover_give_up(struct control_server *s)
{
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_GIVEN_UP, "host-error");
}

/* Decided here; it ends when the disk says so too. */
static bool handover_is_returned(const struct control_server *s)
{
	return s->spoilt && s->have_move && s->move.state == MOVE_RETURNED && runstate_held_by(s->vm, HOLD_INCOMING);
}

void handover_recorded(struct control_server *s)
{
	if (handover_is_returned(s))
		handover_give_up(s);
}

/* Nobody ran here and nobody will: the source may take it back. Until the disk says so too, it is this process alone that
 * knows: it ends only then. */
static int handover_return(struct control_server *s, const char *reason, struct fail *why)
{
	int rc = records_decide(s, MOVE_RETURNED, s->move.generation, why);

	s->spoilt = true;
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: %.250s", reason);
	if (rc == 0)
		handover_give_up(s);
	return rc;
}

static int handover_start_failed(struct control_server *s, struct fail *why)
{
	struct fail record;
	char        text[300];

	board_own(s->vm->board, false, &record);
	fail_text(why, text, sizeof(text));
	if (handover_return(s, text, &record))
		fail_prefix(why, "(RETURNED not yet written to disk) ");
	return -1;
}

int handover_start(struct control_server *s, const struct uuid *move, struct fail *why)
{
	struct vm *vm = s->vm;

	if (handover_arrived(s))
		return handover_same(s, move, why);     /* GO is repeated until it is answered */
	if (!handover_in_doubt(s) || s->spoilt)
		return fail_set(why, FAIL_OWNER, "start: VM not in state READY");
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
		vm->run.started    = false;
		s->move.generation = generation;
		return handover_start_failed(s, why);
	}
	fault_point("vmrun.target.running");
	images_tell(vm);
	return 0;
}

int handover_abort(struct control_server *s, const struct uuid *move, struct fail *why)
{
	if (!runstate_held_by(s->vm, HOLD_INCOMING))
		return fail_set(why, FAIL_OWNER, "abort: VM owned by this host and may be running");
	if (handover_in_doubt(s))
		return handover_same(s, move, why) ? -1 : handover_return(s, "move aborted", why);
	if (handover_is_returned(s))
		return handover_same(s, move, why);
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: move aborted");
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_GIVEN_UP, "host-error");
	return 0;
}

void handover_lost(struct control_server *s, const char *reason)
{
	if (s->vm->run.ended || !runstate_held_by(s->vm, HOLD_INCOMING) || handover_in_doubt(s) || handover_is_returned(s))
		return;
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: lease lost before READY: %.200s", reason);
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_GIVEN_UP, "host-error");
}

int handover_resolve(struct control_server *s, bool own, bool peer_is_dead, const struct uuid *move, struct fail *why)
{
	struct uuid id = move ? *move : s->move.move;

	/* Nothing was asked of the peer: vmmigrate resolve does that. */
	if (own && !peer_is_dead)
		return fail_set(why, FAIL_OWNER,
				"ownership of the VM is unresolved: peer %.80s not queried: "
				"use vmmigrate resolve, or peer-is-dead=true", s->move.peer);
	if (handover_in_doubt(s))
		return own ? handover_start(s, &id, why) : handover_abort(s, &id, why);
	return own ? handover_retake(s, &id, true, why) : handover_done(s, &id, 0, why);
}
