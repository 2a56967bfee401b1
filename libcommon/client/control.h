/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_CONTROL_H
#define LIBCOMMON_CLIENT_CONTROL_H

#include "libcommon/fail.h"

#include <jansson.h>
#include <stdint.h>

/* The client's end of a VM's control socket: QMP over AF_UNIX (docs/control.md 1, 2). A connection
 * belongs to one thread at a time: nothing is locked. */

struct control;

/**
 * control_open - connect to a VM, take the greeting, negotiate
 * @out: out, closed by control_close(); NULL on failure
 * @vm:  name, or path of a socket (it has a '/')
 * @why: FAIL_PEER: no running VM of that name, with the path that was tried; no greeting within
 *       15 s; not a control socket
 *
 * Return: 0 or -1.
 */
int control_open(struct control **out, const char *vm, struct fail *why);

/**
 * control_execute - run one command and wait for its answer
 * @command:    name
 * @args:       object, stays the caller's; NULL for none
 * @ret:        out, "return" of the answer, a new reference; NULL when it is not wanted
 * @fd:         out, descriptor that came with the answer, -1 for none; NULL when it is not wanted
 * @cls:        out, class of a QMP error, "" for another failure; NULL when it is not wanted
 * @timeout_ms: for the answer; 0 for none
 * @why:        FAIL_PEER: an error of the VM, with its desc; timed out; malformed answer.
 *              FAIL_ENDED: vmrun has closed the connection. FAIL_USAGE: @args is not valid JSON
 *
 * Events that come in between are queued for control_event(), 4096 at most. The answer to a command
 * that timed out is dropped when it comes later.
 *
 * Return: 0 or -1.
 */
int control_execute(struct control *c, const char *command, json_t *args, json_t **ret, int *fd,
		    char cls[64], unsigned timeout_ms, struct fail *why);

/**
 * control_event - next event, queued ones first
 * @event:      out, a new reference
 * @timeout_ms: 0 for none
 * @why:        FAIL_PEER: timed out. FAIL_ENDED: vmrun has closed the connection
 *
 * Return: 0 or -1.
 */
int control_event(struct control *c, json_t **event, unsigned timeout_ms, struct fail *why);

/* The VM as it was named to control_open(): for messages. */
const char *control_vm(const struct control *c);

/* NULL allowed. */
void control_close(struct control *c);

#endif
