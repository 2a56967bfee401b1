/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_CONTROL_SERVER_H
#define VMRUN_CONTROL_CONTROL_SERVER_H

#include "libcommon/fail.h"
#include "libcommon/uuid.h"

#include <jansson.h>
#include <stdbool.h>

/* The VM as seen from outside: its control socket (QMP), its leases, its record of who owns it
 * (docs/control.md). */

struct vm;
struct control_server;

#define CONTROL_TOKEN_MAX 95u

/**
 * control_server_open - open the control socket, and take the claim of the VM
 * @out:   out, closed by control_server_close(); NULL on failure
 * @vm:    its configuration is final; it need not run yet
 * @path:  of the socket; NULL: @vm's name in the runtime folder
 * @token: of an incoming VM, at most CONTROL_TOKEN_MAX characters: its first lease is given to who
 *         shows it and passes the claim, and when the process that it names ends before that, so
 *         does the VM. NULL for none
 * @why:   FAIL_REFUSED: a running VM has that name or UUID; FAIL_OWNER: the VM's record
 *
 * Takes the socket's lock and the claim of the VM's UUID for the life of this process, reads the
 * VM's record, sets vm->control, and serves from vm->loop. Main thread, without control_lock.
 *
 * Return: 0 or -1.
 */
int control_server_open(struct control_server **out, struct vm *vm, const char *path,
			const char *token, struct fail *why);

/**
 * control_server_close - end every lease, tell the clients, remove the socket
 * @s: NULL allowed
 *
 * Leases end with the reason why the VM has ended. Clients get 1 s, all together, to take what is
 * queued for them. A target with unresolved ownership that is closed in order is recorded RETURNED:
 * no vCPU of it ever ran, and none will. Main thread, without control_lock, before vm_close().
 */
void control_server_close(struct control_server *s);

/**
 * control_server_event - an event for every client
 * @name: as QEMU has it ("STOP")
 * @data: object, the reference is taken; NULL for none
 *
 * Any thread, whatever locks it holds; without a server (unit tests) only @data is released. The
 * last event of each name is remembered, so that a wait that comes late is answered. (The client's
 * function is control_event(), libcommon/client/control.h.)
 */
void control_server_event(struct vm *vm, const char *name, json_t *data);

/**
 * records_may_start - may this VM be started or restored here?
 * @vm:   UUID
 * @name: for messages
 * @why:  FAIL_OWNER: the record says released, unresolved or elsewhere, or cannot be read; the
 *        message names move, peer and the command that resolves it
 *
 * Not asked for --incoming: there the verb READY compares generations.
 *
 * Return: 0 or -1.
 */
int records_may_start(const struct uuid *vm, const char *name, struct fail *why);

#endif
