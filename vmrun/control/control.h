/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_CONTROL_H
#define VMRUN_CONTROL_CONTROL_H

#include "libcommon/fail.h"
#include "libcommon/uuid.h"

#include <jansson.h>
#include <stdbool.h>

/* The VM as seen from outside: its control socket (QMP), its leases, its record of who owns it (docs/control.md). */

struct vm;
struct control_server;

#define CONTROL_TOKEN_MAX 95u

/* Opens the socket of vm->cfg.name in the runtime folder (path NULL) or at path, takes its lock and the claim of the VM's UUID
 * for the life of this process, reads the VM's move record, sets vm->control, and serves from vm->loop. A live VM of that
 * name or UUID is FAIL_REFUSED, "web runs already (pid N)". token (NULL: none): of an incoming VM; its first lease is granted
 * to who shows it and hands over the claim, and when the process that it names ends before, so does the VM. Main thread, once
 * vm->cfg is final; the VM need not run yet. */
int control_server_open(struct control_server **out, struct vm *vm, const char *path, const char *token, struct fail *why);

/* Main thread, without control_lock, before vm_close; NULL allowed. Ends every lease with the reason the VM ended for,
 * gives clients a bounded while (1 s) to take what is queued for them, unlinks the socket. A target in doubt that is
 * closed in order is recorded RETURNED: no vCPU of it ever ran, and none will. */
void control_server_close(struct control_server *s);

/* An event for every client: name as QEMU has it ("STOP"), data stolen, NULL for none. Any thread, any lock held; without
 * a server (unit tests) only frees. The last event of each name is remembered, so that a wait that comes late is answered.
 * (Not control_event(): that is the client's, libcommon/client/control.h.) */
void control_server_event(struct vm *vm, const char *name, json_t *data);

/* May a VM be started or restored here? FAIL_OWNER when its record says released, in doubt, or can't be read; the message
 * names move, peer and what settles it. For --incoming it is not asked: the READY verb compares generations. */
int records_may_start(const struct uuid *vm, const char *name, struct fail *why);

/* Commands of vmrun: they print, and return the exit status. Operands of ctl: VM COMMAND [key=value]... */
int list_main(bool json);
int ctl_main(int noperands, char **operands);

#endif
