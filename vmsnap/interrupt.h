/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_INTERRUPT_H
#define VMSNAP_INTERRUPT_H

#include "libcommon/fail.h"

/* SIGINT, SIGTERM and SIGHUP, from a thread of their own: the tool may be waiting for a stalled pipe or a full disk when
 * they come. They clean up, say one line and die of the signal; the end of the process ends the lease, and with it the
 * pause. Only while they are held (the file gets its name) do they wait. */

/* Before any other thread is started. A signal that was ignored stays ignored (nohup). */
int interrupt_start(struct fail *why);
void interrupt_hold(void);
/* They may end us again; cleanup (may be NULL) runs first. */
void interrupt_release(void (*cleanup)(void *arg), void *arg);

#endif
