#ifndef LIBCOMMON_MOVES_H
#define LIBCOMMON_MOVES_H

#include "libcommon/fail.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* Records of moves: who owns a VM (design.md 8, docs/protocol.md "Records"). One file a VM, VMUUID.json in the folder
 * paths_moves() names, written aside, fsynced, renamed, folder fsynced: before anything is said to anybody. Written
 * by vmrun (and by `vmmigrate resolve`, under the file's flock, when no vmrun of that VM lives); read by all. */

enum move_state {
	MOVE_READY,        /* target: loaded, may not run before GO */
	MOVE_RELEASED,     /* source: given away; never runs again by itself */
	MOVE_OWNED,        /* target: it is ours and runs (or has run) here */
	MOVE_RETURNED,     /* target: no vCPU ever ran here under this move, and none will: the source may take it back */
	MOVE_STATES
};
extern const char *const move_state_names[MOVE_STATES];     /* "ready", "released", "owned", "returned" */

struct move_record {
	struct uuid     vm, move;
	enum move_state state;
	uint64_t        generation;               /* counts completed moves of this VM; OWNED writes source's + 1 */
	char            name[VM_NAME_MAX + 1];
	char            peer[256];                /* HOST:PORT of the other side, to be asked */
	uint64_t        when_ns;                  /* CLOCK_REALTIME of the write */
};

/* found false: no record (r untouched). A file that is damaged is FAIL_OWNER: doubt, never "no record". */
int moves_read(const struct uuid *vm, struct move_record *r, bool *found, struct fail *why);
int moves_write(const struct move_record *r, struct fail *why);      /* sets when_ns by itself */
int moves_remove(const struct uuid *vm, struct fail *why);           /* no record is fine */
/* Excludes every other writer of this VM's record: VMUUID.lock beside it, flock. vmrun holds it from its first record on to
 * its end, so who gets it knows that no vmrun has a say in it. Taken already: FAIL_OWNER, with the holder's pid. */
int moves_lock(const struct uuid *vm, int *fd, struct fail *why);
void moves_unlock(const struct uuid *vm, int *fd);                   /* -1 allowed; removes the lock file when no record is left */
/* A record that is damaged is passed over, and makes the call fail (FAIL_OWNER) after all others were given. */
int moves_list(int (*each)(void *arg, const struct move_record *r, struct fail *why), void *arg, struct fail *why);

#endif
