/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SLOTS_H
#define VMMIGRATE_SLOTS_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The connections that a listener serves at a time, each by a process of its own (docs/protocol.md
 * 4). Those that have not sent a message yet are evicted for newer ones, and moves have a limit of
 * their own, so that GO, ABORT and QUERY always find a slot. The table lies in memory that the
 * listener shares with its children. */

#define SLOTS       32u      /* processes that a stranger can make this host start */
#define SLOTS_MOVES 16u      /* each starts a vmrun with a VM's memory */

struct slots;

int  slots_open(struct slots **out, struct fail *why);
void slots_close(struct slots *s);                                     /* NULL is fine */

/* ---- the listener's calls ---- */

/* A free slot; else the oldest that still waits for its first message is evicted: its process is
 * killed. -1: all are busy. */
int  slots_take(struct slots *s, uint64_t now_ns);
void slots_set(struct slots *s, unsigned slot, pid_t pid);
/* That process has ended; false: it had no slot. */
bool slots_free(struct slots *s, pid_t pid);
unsigned slots_used(const struct slots *s);
void slots_kill(struct slots *s, int signal_number);

/* ---- the process that serves a connection ---- */

/* The first message was received. False: evicted, or there are too many moves. */
bool slots_enter(struct slots *s, unsigned slot, bool move);

#endif
