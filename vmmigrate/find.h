/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_FIND_H
#define VMMIGRATE_FIND_H

#include "libcommon/client/control.h"
#include "libcommon/client/lease.h"
#include "libcommon/client/moves.h"
#include "libcommon/fail.h"
#include "libcommon/uuid.h"

#include <stdbool.h>

/* Does a vmrun of a VM run on this host, and what became of its moves? (docs/protocol.md 8, "The
 * lock", "The judged record".) A vmrun holds its VM's lock for its whole life, and the lock file
 * names its control socket. */
enum found {
	FOUND_NONE,            /* the lock is free: no vmrun runs that could write the record */
	FOUND_ALIVE,
	FOUND_UNRESOLVED,      /* the lock is held but its holder does not answer, or it can't be
				* read: nothing may be concluded */
};

/* *c (may be NULL) is an open connection when alive, else NULL. why is filled for
 * FOUND_UNRESOLVED. */
enum found find_vm(const struct uuid *vm, struct control **c, struct fail *why);

struct judged {
	struct move_record r;
	bool               found;       /* there is a record */
	bool               alive;       /* a vmrun runs, and r is what it says */
	bool               stale;       /* the file on disk may still say otherwise */
	struct control    *c;           /* when alive; the caller's to close */
};

/* The judged record. ours: the caller holds the VM's lock, so the file counts. -1: nothing is known
 * (FAIL_OWNER and others). */
int find_judged(const struct uuid *vm, bool ours, struct judged *j, struct fail *why);

/* The VM an operand names: a name, the path of a control socket, or the UUID of a record or of a VM
 * that runs. *c as above: NULL when only a record knows it. FAIL_PEER: no such VM. */
int find_operand(const char *operand, struct uuid *vm, char name[VM_NAME_MAX + 1],
		 struct control **c, struct fail *why);

/* The judged record of the VM an operand names; alive: its vmrun runs here. Without a record
 * FAIL_USAGE: there is nothing to resume or resolve. */
int find_record(const char *operand, struct move_record *r, bool *alive, struct fail *why);

/* query-uuid, query-name over an open connection; name may be NULL. */
int find_identity(struct control *c, struct uuid *vm, char name[VM_NAME_MAX + 1], struct fail *why);

/* Whether the VM is held by that holder of docs/control.md: "user", "released". */
int find_holder(struct control *c, const char *holder, bool *held, struct fail *why);

/* A lease for this process: vmmigrate[PID]. */
int find_lease(struct lease **out, struct control *c, enum lease_kind kind, struct fail *why);

#endif
