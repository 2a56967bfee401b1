/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_RECORDS_H
#define VMRUN_CONTROL_RECORDS_H

#include "libcommon/client/moves.h"
#include "libcommon/fail.h"

#include <stdint.h>

/* The VM's record of who owns it (docs/protocol.md 8), in memory and on disk. Memory decides while
 * this process lives; a write that failed is tried again once a second. All under
 * vm->control_lock. */

struct control_server;

/* Takes the claim of the VM and reads its record; with a token the claim comes later, by
 * records_claim(), which takes lock_fd over on success only. */
int records_open(struct control_server *s, struct fail *why);
int records_claim(struct control_server *s, int lock_fd, struct fail *why);
/* The server ends in order: an unresolved target is RETURNED, a move under way ABORTED. */
void records_closing(struct control_server *s);
void records_close(struct control_server *s);

/* On disk when it returns 0. After a failure memory is as before, and so is the disk, now or after
 * the next retry. */
int records_write(struct control_server *s, enum move_state state, const struct uuid *move,
		  uint64_t generation, const char *peer, struct fail *why);
/* The latest move gets a state that can no longer be refused: it holds from now on, whether the
 * disk can be written or not. 0: it is on disk; -1: it will be, by a retry. */
int records_decide(struct control_server *s, enum move_state state, uint64_t generation,
		   struct fail *why);

/* Main loop's timer: tries again when the disk differs from memory. */
void records_retry(void *server, uint32_t events);

#endif
