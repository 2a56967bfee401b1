#ifndef VMRUN_CONTROL_RECORDS_H
#define VMRUN_CONTROL_RECORDS_H

#include "libcommon/fail.h"
#include "libcommon/moves.h"

#include <stdint.h>

/* The VM's record of who owns it, in memory as it is on disk. Under vm->control_lock. */

struct control_server;

int  records_open(struct control_server *s, struct fail *why);      /* what is there now */
/* The server is going, in order: a target in doubt is RETURNED, for nothing can start it any more. */
void records_closing(struct control_server *s);
void records_close(struct control_server *s);

/* On disk when it returns 0. After a failure both are what they were before; when even that cannot be restored, the disk
 * says more caution than the truth and the message says so. */
int records_write(struct control_server *s, enum move_state state, const struct uuid *move, uint64_t generation, const char *peer,
		  struct fail *why);
int records_remove(struct control_server *s, struct fail *why);

#endif
