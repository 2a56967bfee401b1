/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_CONTROL_H
#define LIBCOMMON_CLIENT_CONTROL_H

#include "libcommon/fail.h"

#include <jansson.h>
#include <stdint.h>

/* The client's end of a VM's control socket: QMP over AF_UNIX, docs/control.md. */

struct control;

/* Connects to a VM (name or socket path), takes the greeting, sends qmp_capabilities. No such VM, or one that has
 * gone, is FAIL_PEER with a message that says where it was looked for. */
int control_open(struct control **out, const char *vm, struct fail *why);

/* Executes a command; args may be NULL (not stolen). *ret (may be NULL) is a new reference to "return". A QMP error is
 * FAIL_PEER with its desc; error class in cls (may be NULL). fd (may be NULL) receives a descriptor that came with
 * the answer, else -1. Events that come in between are queued. timeout_ms 0: none. */
int control_execute(struct control *c, const char *command, json_t *args, json_t **ret, int *fd, char cls[64],
		    unsigned timeout_ms, struct fail *why);

/* The next event (queued ones first): a new reference. FAIL_ENDED when the VM closes the socket. */
int control_event(struct control *c, json_t **event, unsigned timeout_ms, struct fail *why);

const char *control_vm(const struct control *c);      /* as it was given to control_open: for messages */
void control_close(struct control *c);

#endif
