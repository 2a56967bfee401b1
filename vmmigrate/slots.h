/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SLOTS_H
#define VMMIGRATE_SLOTS_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The connections that a listener serves at a time, each by a process of its own (docs/protocol.md 4). Those that have not said
 * anything yet give way to newer ones; moves have a limit of their own, so that GO, ABORT and QUERY always find room. The table lies
 * in memory that the listener shares with its children. */

#define SLOTS       32u
#define SLOTS_MOVES 16u

struct slots;

int  slots_open(struct slots **out, struct fail *why);
void slots_close(struct slots *s);                                     /* NULL is fine */

/* The listener. A free slot; when there is none, the oldest one that is still waiting for its first message is taken away from its
 * process, which is killed. -1: all are busy. */
int  slots_take(struct slots *s, uint64_t now_ns);
void slots_set(struct slots *s, unsigned slot, pid_t pid);
bool slots_free(struct slots *s, pid_t pid);                           /* it has ended; false: it had no slot */
unsigned slots_used(const struct slots *s);
void slots_kill(struct slots *s, int signal_number);                   /* all of them */

/* Its process: the first message has come. False: the slot was taken away, or there are too many moves. */
bool slots_enter(struct slots *s, unsigned slot, bool move);

#endif
