/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_COMMANDS_CTL_H
#define VMRUN_COMMANDS_CTL_H

#include "libcommon/client/control.h"

#include <jansson.h>

/* `vmrun ctl NAME wait EVENT`: 0 when it happened, even before it was asked for; FAIL_ENDED when
 * the VM ends without it. timeout_ms 0: none. *out: the event, a new reference. */
int ctl_wait(const char *vm, const char *event, unsigned timeout_ms, json_t **out,
	     struct fail *why);

#endif
