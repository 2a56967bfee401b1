/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_RECORDS_H
#define VMRUN_CONTROL_RECORDS_H

#include "libcommon/fail.h"
#include "libcommon/client/moves.h"

#include <stdint.h>

/* The VM's record of who owns it (docs/protocol.md 8), in memory and on disk. Memory decides while this process lives; a disk
 * that could not be brought up to it is tried again once a second. Under vm->control_lock. */

struct control_server;

/* Takes the claim of the VM and reads what is there; with a token the claim comes later, by records_claim(). */
int records_open(struct control_server *s, struct fail *why);
int records_claim(struct control_server *s, int lock_fd, struct fail *why);      /* takes lock_fd, on success only */
/* The server is going, in order: a target in doubt is RETURNED, a move under way ABORTED. */
void records_closing(struct control_server *s);
void records_close(struct control_server *s);

/* On disk when it returns 0. After a failure memory is what it was before, and so is the disk, now or soon. */
int records_write(struct control_server *s, enum move_state state, const struct uuid *move, uint64_t generation, const char *peer,
		  struct fail *why);
/* The latest move gets an outcome (or another state) that cannot be refused any more: true from now on, whatever the disk does. 0
 * when it is on disk; -1: it will be, soon. */
int records_decide(struct control_server *s, enum move_state state, uint64_t generation, struct fail *why);

/* Main loop: tries again when the disk says otherwise than memory. */
void records_retry(void *server, uint32_t events);

#endif
