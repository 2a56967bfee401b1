/* SPDX-License-Identifier: MIT */
#include "vmrun/control/records.h"

#include "libcommon/io.h"
#include "vmrun/control/lease_handover.h"
#include "vmrun/control/server.h"
#include "vmrun/note.h"
#include "vmrun/vm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORDS_RETRY_NS     1000000000u
#define RECORDS_LOCK_WAIT_MS 2000u      /* for a VM of that UUID that is just ending */

int records_may_start(const struct uuid *vm, const char *name, struct fail *why)
{
	struct move_record r;
	bool               found;
	char               move[UUID_TEXT];

	if (moves_read(vm, &r, &found, why))
		return -1;
	if (!found || moves_may_start(r.state))
		return 0;
	uuid_text(&r.move, move);
	if (r.state == MOVE_MOVED || r.state == MOVE_RETURNED)
		return fail_set(why, FAIL_OWNER,
				"%s: owned by peer %.80s (move %s: %s): it would run twice; "
				"use --uuid new for a new VM, or vmmigrate resolve %s --disown",
				name, r.peer, move, move_state_names[r.state], name);
	if (r.state == MOVE_RELEASED || r.state == MOVE_RETAKING)
		return fail_set(why, FAIL_OWNER,
			"%s: released to %.80s (move %s) and may run there: "
			"see vmmigrate status %s; use vmmigrate resolve %s --own to take it back",
			name, r.peer, move, name, name);
	return fail_set(why, FAIL_OWNER,
			"%s: ownership of the VM is unresolved: READY for move %s from %.80s: "
			"see vmmigrate status %s; use vmmigrate resolve %s", name, move, r.peer,
			name, name);
}

/* ---- the claim ---- */

static int records_read(struct control_server *s, struct fail *why)
{
	struct fail later;

	if (moves_read_synced(&s->vm->cfg.uuid, &s->move, &s->have_move, why))
		return -1;
	/* We have the claim, so whoever could have released that move has ended. */
	if (s->have_move && s->move.state == MOVE_MOVING)
		records_decide(s, MOVE_ABORTED, s->move.generation, &later);
	return 0;
}

static int records_in_use(const struct control_server *s, struct fail *why)
{
	char id[UUID_TEXT];

	uuid_text(&s->vm->cfg.uuid, id);
	return fail_prefix(why,
		"%s: UUID %s already in use on this host (--uuid new restores a copy): ",
		s->vm->cfg.name, id);
}

int records_open(struct control_server *s, struct fail *why)
{
	const struct uuid *vm = &s->vm->cfg.uuid;

	if (s->token[0])
		return 0;
	if (moves_lock(vm, s->path, RECORDS_LOCK_WAIT_MS, &s->move_lock, why)) {
		if (why->kind != FAIL_OWNER)
			return -1;
		why->kind = FAIL_REFUSED;
		return records_in_use(s, why);
	}
	/* Asked before too, but without the claim: the record may have changed since. */
	if (!runstate_held_by(s->vm, HOLD_INCOMING) && records_may_start(vm, s->vm->cfg.name, why))
		return -1;
	return records_read(s, why);
}

int records_claim(struct control_server *s, int lock_fd, struct fail *why)
{
	if (s->move_lock >= 0)
		return fail_set(why, FAIL_USAGE, "claim: already held by this vmrun");
	if (moves_lock_adopt(&s->vm->cfg.uuid, s->path, lock_fd, why))
		return -1;
	s->move_lock = lock_fd;
	if (records_read(s, why) == 0)
		return 0;
	s->move_lock = -1;      /* the caller's again */
	return -1;
}

void records_close(struct control_server *s)
{
	moves_unlock(&s->vm->cfg.uuid, &s->move_lock);
}

/* ---- writing ---- */

static void records_arm(struct control_server *s, bool stale)
{
	s->stale = stale;
	if (s->retry)
		loop_timer_set(s->retry, stale ? io_now_ns() + RECORDS_RETRY_NS : 0);
}

/* Writes to disk what memory has. */
static int records_sync(struct control_server *s, struct fail *why)
{
	if (s->move_lock < 0)
		return fail_set(why, FAIL_OWNER,
				"cannot write the record of the VM: claim not held by this vmrun");
	if (s->have_move ? moves_write(&s->move, why) : moves_remove(&s->vm->cfg.uuid, why))
		return -1;
	records_arm(s, false);
	return 0;
}

/* Its first failure is reported, and then its success. */
static void records_sync_later(struct control_server *s, const struct fail *first)
{
	char text[400];

	if (!s->stale)
		note("%s: cannot write the record of the move (%s); retrying every 1 s",
				s->vm->cfg.name, fail_text(first, text, sizeof(text)));
	records_arm(s, true);
}

void records_retry(void *server, uint32_t events)
{
	struct control_server *s = server;
	struct fail            why;

	(void)events;
	pthread_mutex_lock(&s->vm->control_lock);
	if (s->stale && records_sync(s, &why)) {
		records_arm(s, true);
	} else if (s->have_move) {
		note("%s: record of the move written: %s", s->vm->cfg.name,
			move_state_names[s->move.state]);
		lease_handover_recorded(s);
	}
	pthread_mutex_unlock(&s->vm->control_lock);
}

int records_write(struct control_server *s, enum move_state state, const struct uuid *move,
		  uint64_t generation, const char *peer, struct fail *why)
{
	struct move_record before = s->move;
	bool               had    = s->have_move;
	struct fail        undo;

	if (!had)
		s->move = (struct move_record){ .vm = s->vm->cfg.uuid };
	snprintf(s->move.name, sizeof(s->move.name), "%s", s->vm->cfg.name);
	moves_step(&s->move, state, move, generation, peer);
	s->have_move = true;
	if (records_sync(s, why) == 0)
		return 0;
	s->move      = before;
	s->have_move = had;
	/* The rename may have been done although the write failed: write the old record again. */
	if (s->move_lock >= 0 && records_sync(s, &undo))
		records_sync_later(s, &undo);
	return -1;
}

int records_decide(struct control_server *s, enum move_state state, uint64_t generation,
		   struct fail *why)
{
	moves_step(&s->move, state, &s->move.move, generation, s->move.peer);
	if (records_sync(s, why) == 0)
		return 0;
	records_sync_later(s, why);
	return -1;
}

void records_closing(struct control_server *s)
{
	struct fail why;

	/* If that cannot be written: READY without a vmrun becomes RETURNED, and MOVING becomes
	 * ABORTED, as soon as anybody reads the record. */
	if (lease_handover_unresolved(s))
		records_decide(s, MOVE_RETURNED, s->move.generation, &why);
	else if (s->have_move && s->move.state == MOVE_MOVING)
		records_decide(s, MOVE_ABORTED, s->move.generation, &why);
	else if (s->stale)
		records_sync(s, &why);
}
