#ifndef VMMIGRATE_FIND_H
#define VMMIGRATE_FIND_H

#include "libcommon/control.h"
#include "libcommon/fail.h"
#include "libcommon/lease.h"
#include "libcommon/uuid.h"

#include <stdbool.h>

/* Is the vmrun of a VM alive on this host? Records say who owns a VM; only a live vmrun can act on one. */
enum found {
	FOUND_NONE,      /* no socket of its name answers, no other VM has its UUID */
	FOUND_ALIVE,
	FOUND_DOUBT,     /* something holds its name and does not answer, or the runtime folder can't be looked at */
};

/* name: the VM's, from a record or a HELLO; socket: NULL, or where its control socket is if not under its name. *c (may be
 * NULL) is an open connection when alive, else NULL. why is filled for FOUND_DOUBT. */
enum found find_vm(const struct uuid *vm, const char *name, const char *socket, struct control **c, struct fail *why);

/* The VM an operand names: a name, a socket's path, or a UUID of a record or of a live VM. *c as above: NULL when only a
 * record knows it, or nothing. vm and name are filled in either case; nothing at all is FAIL_PEER. */
int find_operand(const char *operand, struct uuid *vm, char name[VM_NAME_MAX + 1], struct control **c, struct fail *why);

/* query-uuid, query-name over an open connection; name may be NULL. */
int find_identity(struct control *c, struct uuid *vm, char name[VM_NAME_MAX + 1], struct fail *why);

/* Whether the VM is held by that holder of docs/control.md: "user", "released". */
int find_holder(struct control *c, const char *holder, bool *held, struct fail *why);

/* A lease of a kind, tried again for a second while somebody else is about to let go of his. */
int find_lease(struct lease **out, struct control *c, enum lease_kind kind, struct fail *why);

#endif
