/* SPDX-License-Identifier: MIT */
#include "vmmigrate/find.h"

#include "libcommon/client/moves.h"
#include "libcommon/io.h"
#include "libcommon/paths.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIND_TIMEOUT_MS 10000u
/* A lock that changes hands while its holder is asked: a move that begins or ends. */
#define FIND_TRIES      5u
/* A vmrun that is exiting no longer answers, but has its lock a moment longer. */
#define FIND_ENDING_NS  3000000000u
#define FIND_AGAIN_MS   20

int find_identity(struct control *c, struct uuid *vm, char name[VM_NAME_MAX + 1], struct fail *why)
{
	json_t *ret = NULL;
	bool    ok;

	if (control_execute(c, "query-uuid", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	const char *text = json_string_value(json_object_get(ret, "UUID"));

	ok = text && uuid_parse(vm, text);
	json_decref(ret);
	if (!ok)
		return fail_set(why, FAIL_PEER, "query-uuid: missing UUID in the reply");
	if (!name)
		return 0;
	ret = NULL;
	if (control_execute(c, "query-name", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	const char *s = json_string_value(json_object_get(ret, "name"));

	ok = s && paths_name_ok(s);
	if (ok)
		snprintf(name, VM_NAME_MAX + 1, "%s", s);
	json_decref(ret);
	return ok ? 0 : fail_set(why, FAIL_PEER, "query-name: missing name in the reply");
}

/* 0: the holder of the lock is a vmrun, which answers at its socket for that VM. */
static int find_holder_answers(const struct uuid *vm, const struct moves_holder *h,
			       struct control **c, struct fail *why)
{
	struct control *mine = NULL;
	struct uuid     got;

	if (!h->socket[0])
		return fail_set(why, FAIL_OWNER,
				"the VM is locked by pid %ld: it is being moved here or resolved",
				(long)h->pid);
	if (control_open(&mine, h->socket, why))
		return -1;
	if (find_identity(mine, &got, NULL, why) == 0 && !uuid_equal(vm, &got))
		fail_set(why, FAIL_OWNER, "%s: socket of another VM than that of pid %ld",
			 h->socket, (long)h->pid);
	else if (why->kind == FAIL_NONE) {
		*c = mine;
		return 0;
	}
	control_close(mine);
	return -1;
}

enum found find_vm(const struct uuid *vm, struct control **c, struct fail *why)
{
	struct moves_holder *h    = malloc(sizeof(*h));
	struct control      *mine = NULL;
	enum found           f    = FOUND_UNRESOLVED;
	bool                 held = true;
	uint64_t             until = io_now_ns() + FIND_ENDING_NS;

	if (c)
		*c = NULL;
	if (!h)
		fail_sys(why, "lock holder");
	while (h && f == FOUND_UNRESOLVED) {
		why->kind = FAIL_NONE;
		if (moves_held(vm, &held, h, why))
			break;
		if (!held)
			f = FOUND_NONE;
		else if (find_holder_answers(vm, h, &mine, why) == 0)
			f = FOUND_ALIVE;
		else if (!h->socket[0] || io_now_ns() >= until)
			break;
		else
			poll(NULL, 0, FIND_AGAIN_MS);
	}
	if (f == FOUND_UNRESOLVED)
		why->kind = FAIL_OWNER;
	if (f == FOUND_ALIVE && c)
		*c = mine;
	else
		control_close(mine);
	free(h);
	return f;
}

/* What the vmrun that runs has recorded. It answers under the lock that serialises its
 * hand-over, so that no state is seen which a failing disk then takes back. */
static int find_live_record(struct judged *j, const struct uuid *vm, struct fail *why)
{
	json_t *ret = NULL, *record;
	int     rc = -1;

	if (control_execute(j->c, "vmferry-moves", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	record   = json_object_get(ret, "record");
	j->stale = json_is_true(json_object_get(ret, "stale"));
	j->found = json_is_object(record);
	if (j->found && (!moves_parse(record, &j->r) || !uuid_equal(&j->r.vm, vm)))
		fail_set(why, FAIL_OWNER, "vmferry-moves: invalid record");
	else if (!j->found && !json_is_null(record))
		fail_set(why, FAIL_OWNER, "vmferry-moves: missing record in the reply");
	else
		rc = 0;
	json_decref(ret);
	return rc;
}

int find_judged(const struct uuid *vm, bool ours, struct judged *j, struct fail *why)
{
	for (unsigned i = 0; i < FIND_TRIES; i++) {
		bool held = false;

		j->c     = NULL;
		j->alive = j->stale = false;
		if (!ours) {
			enum found f = find_vm(vm, &j->c, why);

			if (f == FOUND_UNRESOLVED)
				return -1;
			j->alive = f == FOUND_ALIVE;
		}
		if (j->alive) {
			if (find_live_record(j, vm, why) == 0)
				return 0;
			control_close(j->c);
			j->c = NULL;
			/* It may just have exited: then the file counts. */
			continue;
		}
		if (moves_read_synced(vm, &j->r, &j->found, why))
			return -1;
		/* Checked after reading: a vmrun that has taken the lock in between may have
		 * written. */
		if (ours || (moves_held(vm, &held, NULL, why) == 0 && !held))
			return 0;
	}
	why->kind = FAIL_OWNER;
	return fail_prefix(why, "cannot determine who owns the VM: ");
}

struct find_match {
	const char        *name, *socket;      /* one of them, the other NULL */
	struct move_record r;
	unsigned           n;                  /* VMs that only a UUID can tell apart */
};

/* By name, else by the control socket of the vmrun that had the VM last. A record that is open
 * counts more than one that is final, then the newer. */
static int find_match_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct find_match  *f = arg;
	struct moves_holder *h;
	bool                 held, match = f->name && !strcmp(r->name, f->name);

	if (f->socket) {
		h = malloc(sizeof(*h));
		match = h && moves_held(&r->vm, &held, h, why) == 0 &&
			!strcmp(h->socket, f->socket);
		free(h);
	}
	if (!match)
		return 0;
	if (f->n && moves_final(r->state) &&
	    (!moves_final(f->r.state) || r->when_ns < f->r.when_ns))
		return 0;
	f->n = f->n && !moves_final(f->r.state) ? f->n + 1 : 1;
	f->r = *r;
	return 0;
}

/* By UUID: a live VM, or a record. */
static int find_by_uuid(struct uuid *vm, char name[VM_NAME_MAX + 1], struct control **c,
			struct fail *why)
{
	struct move_record *r = malloc(sizeof(*r));
	char                text[UUID_TEXT];
	struct uuid         got;
	bool                found;
	int                 rc = -1;

	if (!r)
		return fail_sys(why, "record");
	uuid_text(vm, text);
	if (find_vm(vm, c, why) == FOUND_ALIVE)
		rc = find_identity(*c, &got, name, why);
	else if (moves_read(vm, r, &found, why) == 0 && found)
		rc = snprintf(name, VM_NAME_MAX + 1, "%s", r->name) < 0;
	else if (why->kind == FAIL_NONE)
		fail_set(why, FAIL_PEER, "%s: no running VM and no record of a move with this UUID",
			 text);
	free(r);
	return rc;
}

int find_operand(const char *operand, struct uuid *vm, char name[VM_NAME_MAX + 1],
		 struct control **c, struct fail *why)
{
	bool               path = strchr(operand, '/') != NULL;
	struct find_match f    = { .name = path ? NULL : operand, .socket = path ? operand : NULL };
	struct fail        lists, open;

	*c = NULL;
	if (uuid_parse(vm, operand))
		return find_by_uuid(vm, name, c, why);
	if (control_open(c, operand, &open) == 0) {
		if (find_identity(*c, vm, name, why) == 0)
			return 0;
		control_close(*c);
		*c = NULL;
		return -1;
	}
	int rc = moves_list(find_match_each, &f, &lists);

	if (f.n > 1)
		return fail_set(why, FAIL_USAGE,
				"%s: ambiguous name, %u VMs have records; specify the UUID",
				operand, f.n);
	if (f.n == 0) {
		*why = rc ? lists : open;
		return -1;
	}
	*vm = f.r.vm;
	snprintf(name, VM_NAME_MAX + 1, "%s", f.r.name);
	return find_vm(vm, c, why) == FOUND_UNRESOLVED ? -1 : 0;
}

int find_record(const char *operand, struct move_record *r, bool *alive, struct fail *why)
{
	struct control *c = NULL;
	struct judged  *j = calloc(1, sizeof(*j));
	struct uuid     vm;
	char            name[VM_NAME_MAX + 1];
	int             rc = -1;

	if (!j)
		return fail_sys(why, "record");
	if (find_operand(operand, &vm, name, &c, why) == 0 &&
	    find_judged(&vm, false, j, why) == 0) {
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

int find_holder(struct control *c, const char *holder, bool *held, struct fail *why)
{
	json_t *ret = NULL, *h;
	size_t  i;

	*held = false;
	if (control_execute(c, "query-status", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	json_array_foreach(json_object_get(ret, "vmferry-holders"), i, h)
		if (json_is_string(h) && !strcmp(json_string_value(h), holder))
			*held = true;
	json_decref(ret);
	return 0;
}

int find_lease(struct lease **out, struct control *c, enum lease_kind kind, struct fail *why)
{
	char holder[48];

	snprintf(holder, sizeof(holder), "vmmigrate[%ld]", (long)getpid());
	return lease_open(out, c, kind, holder, why);
}
