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
#define HANDOVER_ABORTED    4      /* an incoming VM that never became ours */

bool lease_handover_unresolved(const struct control_server *s)
{
	return s->have_move && s->move.state == MOVE_READY &&
	       runstate_held_by(s->vm, HOLD_INCOMING);
}

bool lease_handover_arrived(const struct control_server *s)
{
	return s->loaded && s->have_move && s->move.state == MOVE_OWNED &&
	       !runstate_held_by(s->vm, HOLD_INCOMING);
}

uint64_t lease_handover_generation(const struct control_server *s)
{
	return s->have_move ? s->move.generation : 0;
}

/* Is the record of that move? */
static int lease_handover_same(const struct control_server *s, const struct uuid *move,
			       struct fail *why)
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

int lease_handover_moving(struct control_server *s, const struct uuid *move, const char *peer,
			  struct fail *why)
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
	if (records_write(s, MOVE_MOVING, move, lease_handover_generation(s), peer, why))
		return -1;
	fault_point("vmrun.source.moving");
	return 0;
}

void lease_handover_unmove(struct control_server *s)
{
	struct fail later;

	if (!s->have_move)
		return;
	if (s->move.state == MOVE_MOVING)
		records_decide(s, MOVE_ABORTED, s->move.generation, &later);
	else if (s->move.state == MOVE_RETAKING)
		records_decide(s, MOVE_RELEASED, s->move.generation, &later);
}

int lease_handover_release(struct control_server *s, const struct uuid *move, struct fail *why)
{
	struct vm  *vm = s->vm;
	struct fail undo;

	if (runstate_held_by(vm, HOLD_RELEASED))
		return lease_handover_same(s, move, why);     /* asked again: done already */
	if (!runstate_held_by(vm, HOLD_LEASE))
		return fail_set(why, FAIL_REFUSED, "release: VM not paused by this lease");
	if (lease_handover_same(s, move, why))
		return -1;
	if (s->move.state != MOVE_MOVING)
		return fail_set(why, FAIL_OWNER, "release: unexpected in state %s, expected moving",
				move_state_names[s->move.state]);
	if (vm_disks_known(vm, why))
		return -1;
	fault_point("vmrun.source.paused");
	/* Held before the record is written: once it is renamed into place nothing may run this VM,
	 * whatever fails afterwards. */
	if (runstate_hold(vm, HOLD_RELEASED, why))
		return -1;
	if (records_write(s, MOVE_RELEASED, move, lease_handover_generation(s), s->move.peer,
			  why)) {
		runstate_drop(vm, HOLD_RELEASED, &undo);     /* still paused by the lease */
		return -1;
	}
	fault_point("vmrun.source.released");
	board_own(vm->board, false, &undo);     /* only the target may take the disks now */
	return 0;
}

/* Is the VM released, by that move? */
static int lease_handover_released(const struct control_server *s, const char *what,
				   const struct uuid *move, struct fail *why)
{
	if (!runstate_held_by(s->vm, HOLD_RELEASED))
		return fail_set(why, FAIL_OWNER, "%s: VM not released", what);
	return lease_handover_same(s, move, why);
}

int lease_handover_retaking(struct control_server *s, const struct uuid *move, bool on,
			    struct fail *why)
{
	if (lease_handover_released(s, "retaking", move, why))
		return -1;
	if ((s->move.state == MOVE_RETAKING) == on)
		return 0;
	return records_write(s, on ? MOVE_RETAKING : MOVE_RELEASED, move, s->move.generation,
			     s->move.peer, why);
}

int lease_handover_retake(struct control_server *s, const struct uuid *move, bool confirmed,
			  struct fail *why)
{
	struct vm  *vm = s->vm;
	struct fail undo;

	if (lease_handover_released(s, "retake", move, why) || board_own(vm->board, true, why))
		return -1;
	if (vm_disks_retaken(vm, why)) {
		board_own(vm->board, false, &undo);
		return -1;
	}
	/* The peer may have owned it, and would then refuse the generation that we offer the next
	 * time. */
	if (records_write(s, MOVE_RETAKEN, move, s->move.generation + (confirmed ? 1 : 0),
			  s->move.peer, why)) {
		board_own(vm->board, false, &undo);
		return -1;
	}
	fault_point("vmrun.source.retaken");
	return runstate_drop(vm, HOLD_RELEASED, why);
}

int lease_handover_done(struct control_server *s, const struct uuid *move, uint64_t generation,
			struct fail *why)
{
	if (lease_handover_released(s, "done", move, why))
		return -1;
	if (generation <= s->move.generation)
		generation = s->move.generation + 1;
	if (records_write(s, MOVE_MOVED, move, generation, s->move.peer, why))
		return -1;
	fault_point("vmrun.source.done");
	vm_end(s->vm, RUN_POSTMIGRATE, HANDOVER_MOVED_AWAY, CAUSE_HOST_QMP_QUIT);
	return 0;
}

/* ---- target ---- */

/* May this move be READY here? The record of an earlier move is superseded by a later generation;
 * else it prevents this one. */
static int lease_handover_ready_record(struct control_server *s, const struct uuid *move,
				       uint64_t generation, struct fail *why)
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
	/* We released this VM, and who offers it now has the same generation: a copy from before
	 * that release, not from the peer that we gave it to. */
	if (s->move.state == MOVE_READY || s->move.generation == generation)
		return fail_set(why, FAIL_OWNER,
			"ready: unexpected in state %s (peer %.80s, generation %llu; offered: "
			"generation %llu): use vmmigrate resolve",
			move_state_names[s->move.state], s->move.peer,
			(unsigned long long)s->move.generation,
			(unsigned long long)generation);
	/* A later generation: it has run elsewhere since that release, and comes back. */
	s->move.state      = MOVE_MOVED;
	s->move.generation = generation;
	return 0;
}

int lease_handover_ready(struct control_server *s, const struct uuid *move, const char *peer,
			 uint64_t generation, struct fail *why)
{
	if (lease_handover_unresolved(s))
		return lease_handover_same(s, move, why);
	if (!runstate_held_by(s->vm, HOLD_INCOMING) || !s->loaded || !s->written || s->spoilt)
		return fail_set(why, FAIL_REFUSED, "ready: RAM or state not complete");
	if (uuid_is_nil(move) || generation >= INT64_MAX)
		return fail_set(why, FAIL_USAGE, "ready: missing move ID or invalid generation");
	if (lease_handover_ready_record(s, move, generation, why))
		return -1;
	fault_point("vmrun.target.loaded");
	/* Before the source can release: from now on one of the two hosts has the disks' locks at
	 * any time. */
	if (board_own(s->vm->board, false, why) ||
	    records_write(s, MOVE_READY, move, generation, peer, why))
		return -1;
	fault_point("vmrun.target.ready");
	return 0;
}

static void lease_handover_end(struct control_server *s)
{
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_ABORTED, CAUSE_HOST_ERROR);
}

/* RETURNED was decided here; vmrun ends when it is on disk too. */
static bool lease_handover_is_returned(const struct control_server *s)
{
	return s->spoilt && s->have_move && s->move.state == MOVE_RETURNED &&
	       runstate_held_by(s->vm, HOLD_INCOMING);
}

void lease_handover_recorded(struct control_server *s)
{
	if (lease_handover_is_returned(s))
		lease_handover_end(s);
}

/* No vCPU ran here and none will: the source may take the VM back. Until that is on disk only this
 * process knows it, so it ends only then. */
static int lease_handover_return(struct control_server *s, const char *reason, struct fail *why)
{
	int rc = records_decide(s, MOVE_RETURNED, s->move.generation, why);

	s->spoilt = true;
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: %.250s", reason);
	if (rc == 0)
		lease_handover_end(s);
	return rc;
}

static int lease_handover_start_failed(struct control_server *s, struct fail *why)
{
	struct fail record;
	char        text[300];

	board_own(s->vm->board, false, &record);
	fail_text(why, text, sizeof(text));
	if (lease_handover_return(s, text, &record))
		fail_prefix(why, "(RETURNED not yet written to disk) ");
	return -1;
}

int lease_handover_start(struct control_server *s, const struct uuid *move, struct fail *why)
{
	struct vm *vm = s->vm;

	if (lease_handover_arrived(s))
		/* GO is repeated until it is answered. */
		return lease_handover_same(s, move, why);
	if (!lease_handover_unresolved(s) || s->spoilt)
		return fail_set(why, FAIL_OWNER, "start: VM not in state READY");
	if (lease_handover_same(s, move, why))
		return -1;
	if (board_own(vm->board, true, why) || vm_disks_check(vm, why))
		return lease_handover_start_failed(s, why);

	uint64_t generation = s->move.generation;

	if (records_write(s, MOVE_OWNED, move, generation + 1, s->move.peer, why))
		return lease_handover_start_failed(s, why);
	fault_point("vmrun.target.owned");
	/* started is false up to here, so dropping the holder cannot run anything yet; devices that
	 * cannot resume fail before a vCPU has executed an instruction. */
	if (runstate_drop(vm, HOLD_INCOMING, why) || vm_start(vm, why)) {
		vm->run.holders |= HOLD_INCOMING;
		vm->run.started    = false;
		s->move.generation = generation;
		return lease_handover_start_failed(s, why);
	}
	fault_point("vmrun.target.running");
	images_tell(vm);
	return 0;
}

int lease_handover_abort(struct control_server *s, const struct uuid *move, struct fail *why)
{
	if (!runstate_held_by(s->vm, HOLD_INCOMING))
		return fail_set(why, FAIL_OWNER, "abort: VM owned by this host and may be running");
	if (lease_handover_unresolved(s)) {
		if (lease_handover_same(s, move, why))
			return -1;
		return lease_handover_return(s, "move aborted", why);
	}
	if (lease_handover_is_returned(s))
		return lease_handover_same(s, move, why);
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: move aborted");
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_ABORTED, CAUSE_HOST_ERROR);
	return 0;
}

void lease_handover_lost(struct control_server *s, const char *reason)
{
	if (s->vm->run.ended || !runstate_held_by(s->vm, HOLD_INCOMING) ||
	    lease_handover_unresolved(s) || lease_handover_is_returned(s))
		return;
	fail_set(&s->vm->end_why, FAIL_PEER, "incoming: lease lost before READY: %.200s", reason);
	vm_end(s->vm, RUN_SHUTDOWN, HANDOVER_ABORTED, CAUSE_HOST_ERROR);
}

int lease_handover_resolve(struct control_server *s, bool own, bool peer_is_dead,
			   const struct uuid *move, struct fail *why)
{
	struct uuid id = move ? *move : s->move.move;

	/* The peer was not asked: vmmigrate resolve does that. */
	if (own && !peer_is_dead)
		return fail_set(why, FAIL_OWNER,
				"ownership of the VM is unresolved: peer %.80s not queried: "
				"use vmmigrate resolve, or peer-is-dead=true", s->move.peer);
	if (lease_handover_unresolved(s))
		return own ? lease_handover_start(s, &id, why) : lease_handover_abort(s, &id, why);
	return own ? lease_handover_retake(s, &id, true, why) : lease_handover_done(s, &id, 0, why);
}
