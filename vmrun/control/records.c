#include "vmrun/control/records.h"

#include "vmrun/control/handover.h"
#include "vmrun/control/server.h"
#include "vmrun/vm.h"

#include <stdio.h>

int records_may_start(const struct uuid *vm, const char *name, struct fail *why)
{
	struct move_record r;
	bool               found;
	char               move[UUID_TEXT];

	if (moves_read(vm, &r, &found, why))
		return -1;
	if (!found || r.state == MOVE_OWNED || r.state == MOVE_RETURNED)
		return 0;
	uuid_text(&r.move, move);
	if (r.state == MOVE_RELEASED)
		return fail_set(why, FAIL_OWNER, "%s was released to %.80s (move %s) and may run there: see vmmigrate status %s; "
				"vmmigrate resolve %s --own takes it back", name, r.peer, move, name, name);
	return fail_set(why, FAIL_OWNER, "who owns %s is in doubt: it was ready here for move %s from %.80s: see vmmigrate status %s; "
			"vmmigrate resolve %s settles it", name, move, r.peer, name, name);
}

int records_open(struct control_server *s, struct fail *why)
{
	return moves_read(&s->vm->cfg.uuid, &s->move, &s->have_move, why);
}

void records_close(struct control_server *s)
{
	moves_unlock(&s->vm->cfg.uuid, &s->move_lock);
}

void records_closing(struct control_server *s)
{
	struct fail why;

	if (!handover_in_doubt(s))
		return;
	/* Should the disk refuse, READY stays: doubt, as after a crash. */
	records_write(s, MOVE_RETURNED, &s->move.move, s->move.generation, s->move.peer, &why);
}

/* The disk back to what memory says. */
static void records_undo(struct control_server *s, struct fail *why)
{
	struct fail again;

	if (s->have_move ? moves_write(&s->move, &again) : moves_remove(&s->vm->cfg.uuid, &again))
		fail_prefix(why, "(a record that holds the VM back may be left: vmmigrate resolve) ");
}

int records_write(struct control_server *s, enum move_state state, const struct uuid *move, uint64_t generation, const char *peer,
		  struct fail *why)
{
	struct move_record r = { .vm = s->vm->cfg.uuid, .move = *move, .state = state, .generation = generation };

	snprintf(r.name, sizeof(r.name), "%s", s->vm->cfg.name);
	snprintf(r.peer, sizeof(r.peer), "%s", peer);
	if (s->move_lock < 0 && moves_lock(&s->vm->cfg.uuid, &s->move_lock, why))
		return -1;
	if (moves_write(&r, why)) {
		records_undo(s, why);
		return -1;
	}
	s->move      = r;
	s->have_move = true;
	return 0;
}

int records_remove(struct control_server *s, struct fail *why)
{
	if (s->move_lock < 0 && moves_lock(&s->vm->cfg.uuid, &s->move_lock, why))
		return -1;
	if (moves_remove(&s->vm->cfg.uuid, why)) {
		records_undo(s, why);
		return -1;
	}
	s->have_move = false;
	return 0;
}
