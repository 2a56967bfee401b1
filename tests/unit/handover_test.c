/* SPDX-License-Identifier: MIT */
/* The right to settle a move: vmmigrate/handover.c with real records and locks. No vmrun lives here, so the right is the
 * VM's lock. */
#include "tests/unit/tap.h"

#include "vmmigrate/handover.h"

#include "libcommon/client/moves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char top[] = "/tmp/vf-handover.XXXXXX";

static const char *record_path(const struct uuid *vm)
{
	static char path[128];
	char        id[UUID_TEXT];

	uuid_text(vm, id);
	snprintf(path, sizeof(path), "%s/moves/%s.json", top, id);
	return path;
}

static struct move_record released(void)
{
	struct move_record r = { .state = MOVE_RELEASED, .generation = 7 };
	struct fail        why;

	if (uuid_random(&r.vm, &why) || uuid_random(&r.move, &why))
		exit(1);
	snprintf(r.name, sizeof(r.name), "web");
	snprintf(r.peer, sizeof(r.peer), "127.0.0.1:1");
	return r;
}

static struct handover handover_of(const struct move_record *r)
{
	struct handover h = { .vm = r->vm, .move = r->move, .generation = r->generation,
			      .stop_fd = -1, .lock_fd = -1 };

	snprintf(h.name, sizeof(h.name), "%s", r->name);
	return h;
}

static void write_record(const struct move_record *r)
{
	struct fail why;

	if (moves_write(r, &why))
		exit(1);
}

static void damage_record(const struct move_record *r)
{
	FILE *f = fopen(record_path(&r->vm), "w");

	if (!f || fputs("{", f) < 0 || fclose(f))
		exit(1);
}

static bool lock_is_held(const struct move_record *r)
{
	struct fail why;
	bool        held;

	return moves_held(&r->vm, &held, NULL, &why) == 0 && held;
}

static void test_held(void)
{
	struct move_record r = released();
	struct handover    h = handover_of(&r);
	struct fail        why;

	write_record(&r);
	ok(handover_hold(&h, &why) == 0 && lock_is_held(&r), "a move that waits for its outcome is held");
	ok(handover_hold(&h, &why) == 0, "and held again");
	handover_let_go(&h);
	ok(!lock_is_held(&r), "until it is let go");
}

static void test_resolved(void)
{
	struct move_record r = released();
	struct handover    h = handover_of(&r);
	struct fail        why;

	r.state = MOVE_MOVED;
	write_record(&r);
	ok(handover_hold(&h, &why) && why.kind == FAIL_OWNER && h.resolved && !lock_is_held(&r),
	   "one that somebody else has settled is not");
}

/* Between two tries: the record cannot be read at the first, and says at the second that it is over. */
static void test_unread(void)
{
	struct move_record r = released();
	struct handover    h = handover_of(&r);
	struct fail        why;

	write_record(&r);
	damage_record(&r);
	ok(handover_hold(&h, &why) && why.kind == FAIL_OWNER && !h.resolved,
	   "a record that cannot be read gives no right");
	ok(!lock_is_held(&r), "and others are not kept from settling the move");
	r.state = MOVE_MOVED;
	write_record(&r);
	ok(handover_hold(&h, &why) && why.kind == FAIL_OWNER && h.resolved,
	   "the next try looks at the record, and finds it settled");
	handover_let_go(&h);
}

int main(void)
{
	if (!mkdtemp(top) || setenv("VMFERRY_STATE_DIR", top, 1) ||
	    setenv("VMFERRY_RUNTIME_DIR", top, 1))
		return 1;
	test_held();
	test_resolved();
	test_unread();

	char command[64];
	int  rc = done_testing();

	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command) || rc;
}
