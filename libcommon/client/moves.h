/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_MOVES_H
#define LIBCOMMON_CLIENT_MOVES_H

#include "libcommon/fail.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Records of moves: who owns a VM (docs/protocol.md 8). One file a VM, VMUUID.json in the folder
 * of paths_moves(), and beside it VMUUID.lock, whose lock is the claim of the VM on this host. Only
 * who holds the lock writes the record. */

enum move_state {
	MOVE_MOVING,       /* source: a lease holds the VM for a move; not released */
	MOVE_READY,        /* target: state is loaded, may not run before GO */
	MOVE_RELEASED,     /* source: given to the target; never runs here again by itself */
	MOVE_RETAKING,     /* source: as RELEASED, while a human decides */
	/* outcomes: final */
	MOVE_OWNED,        /* target: the VM is ours and runs (or has run) here */
	MOVE_RETURNED,     /* target: no vCPU ran here under this move, and none will */
	MOVE_ABORTED,      /* source: never released, and never will be */
	MOVE_RETAKEN,      /* source: released, then taken back */
	MOVE_MOVED,        /* source: the VM runs, or ran, at the target */
	MOVE_STATES
};
extern const char *const move_state_names[MOVE_STATES];     /* "moving" ... */

static inline bool moves_final(enum move_state s) { return s >= MOVE_OWNED; }
/* May a VM with such a record be started here by a vmrun that holds the lock? Not what is, or was,
 * elsewhere. */
static inline bool moves_may_start(enum move_state s)
{
	return s == MOVE_MOVING || s == MOVE_OWNED || s == MOVE_ABORTED || s == MOVE_RETAKEN;
}
/* Does the record have to be resolved by somebody, once no vmrun of the VM lives? */
static inline bool moves_open(enum move_state s) { return !moves_final(s) && s != MOVE_MOVING; }

#define MOVES_OUTCOMES 64u

struct move_outcome {
	struct uuid     move;
	enum move_state state;                    /* final */
	uint64_t        generation;
};

struct move_record {
	struct uuid         vm, move;             /* move: the latest */
	enum move_state     state;
	uint64_t            generation;           /* completed moves, as far as this host knows */
	char                name[VM_NAME_MAX + 1];
	char                peer[256];            /* HOST:PORT of the other side, to be queried */
	uint64_t            when_ns;              /* CLOCK_REALTIME of the write */
	uint32_t            noutcomes;
	struct move_outcome outcomes[MOVES_OUTCOMES];      /* of earlier moves, oldest first */
};

/* ---- moves.c: a record in memory ---- */

/* What became of a move, by the record itself or by its outcomes. False: not known here. */
bool moves_find(const struct move_record *r, const struct uuid *move, enum move_state *state,
		uint64_t *generation);
/* The record gets a new state. An outcome of another move is kept among the outcomes, of which the
 * oldest is dropped when there are MOVES_OUTCOMES. */
void moves_step(struct move_record *r, enum move_state state, const struct uuid *move,
		uint64_t generation, const char *peer);
/* A new reference; NULL without memory or when a text is not UTF-8. */
json_t *moves_json(const struct move_record *r);
/* False: not a record; r is undefined then. */
bool moves_parse(const json_t *j, struct move_record *r);

/* ---- moves_file.c: on disk ---- */

/* found false: no record (r untouched). A damaged file is FAIL_OWNER, never "no record": the VM may
 * be owned elsewhere. */
int moves_read(const struct uuid *vm, struct move_record *r, bool *found, struct fail *why);
/* The same for who decides by it: a vmrun that was killed may have renamed a record into place
 * without having fsynced it, and a power cut would remove it. What this returns is on disk. */
int moves_read_synced(const struct uuid *vm, struct move_record *r, bool *found, struct fail *why);
/* Written aside, fsynced, renamed, folder fsynced. Sets when_ns by itself. */
int moves_write(const struct move_record *r, struct fail *why);
/* A missing record is no failure. */
int moves_remove(const struct uuid *vm, struct fail *why);
/* A damaged record is skipped, and makes the call fail (FAIL_OWNER) after all others were given. */
int moves_list(int (*each)(void *arg, const struct move_record *r, struct fail *why), void *arg,
	       struct fail *why);

/* ---- moves_lock.c: the claim of a VM on this host ---- */

struct moves_holder {
	pid_t    pid;
	uint64_t start;                           /* field 22 of /proc/PID/stat */
	char     socket[PATHS_MAX];               /* "": not a vmrun */
};

/* Takes the lock, an open file description lock: it lives as long as a copy of *fd does, and can be
 * passed to another process. When another process has it, it is tried again for wait_ms; then
 * FAIL_OWNER names that process. socket: our control socket, NULL for none. */
int moves_lock(const struct uuid *vm, const char *socket, unsigned wait_ms, int *fd,
	       struct fail *why);
/* Of a lock that was passed to us: checks that fd is that VM's lock and has it, and writes our name
 * into the file. */
int moves_lock_adopt(const struct uuid *vm, const char *socket, int fd, struct fail *why);
/* Is it locked, by us too? holder (may be NULL): who has it, or had it last, as the file tells. */
int moves_held(const struct uuid *vm, bool *held, struct moves_holder *holder, struct fail *why);
/* -1 allowed; removes the lock file when there is no record. */
void moves_unlock(const struct uuid *vm, int *fd);

/* Start time of a process, 0 when there is none. */
uint64_t moves_start_time(pid_t pid);

/* ---- shared by the two files ---- */

/* DIR/VMUUID and suffix; DIR is made when make is set. */
int moves_path(char out[PATHS_MAX], const struct uuid *vm, const char *suffix, bool make,
	       struct fail *why);

#endif
