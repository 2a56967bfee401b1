/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_INTERRUPT_H
#define VMSNAP_INTERRUPT_H

#include "libcommon/fail.h"

/* SIGINT, SIGTERM and SIGHUP are taken by a thread of their own, because the tool may be waiting
 * for a stalled pipe or a full disk when they arrive. It cleans up, writes one line and dies of
 * the signal; the end of the process ends the lease, and with it the pause. While signals are
 * held (the file gets its name) it waits. */

/* To be called before any other thread is started, which inherits the mask. A signal that was
 * ignored stays ignored (nohup). outcome: a literal, the end of the line: "no snapshot written". */
int interrupt_start(const char *outcome, struct fail *why);
void interrupt_hold(void);
/* They may end the process again; cleanup (may be NULL) runs first. */
void interrupt_release(void (*cleanup)(void *arg), void *arg);

#endif
