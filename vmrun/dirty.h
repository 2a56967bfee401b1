/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DIRTY_H
#define VMRUN_DIRTY_H

#include "libcommon/bitmap.h"
#include "libcommon/fail.h"
#include "libcommon/uuid.h"
#include "vmrun/memory.h"

/* The dirty log: pages written since somebody asked. dirty_sync is the only one that takes marks
 * from memory and accelerator; it ORs them into the maps of every consumer (a lease's round bitmap,
 * the VM's epochs), so that a mark is in exactly one place at any time and no consumer can take
 * another's. All under vm->control_lock. */

struct accel;
struct epoch;

struct dirty_consumer {
	bitmap_word           *map[LIMIT_REGIONS];     /* one a region; NULL: not wanted */
	struct dirty_consumer *next;
};

struct dirty_log {
	struct memory         *memory;
	struct accel          *accel;
	struct dirty_consumer *consumers;              /* the accelerator logs for them */
	struct epoch          *epoch, *epoch_pending;  /* of the last save, of one in progress */
	uint64_t               words;                  /* of bitmaps looked at, for the counters */
};

/* The first consumer switches the accelerator's log on, the last one off. */
int dirty_consumer_add(struct dirty_log *log, struct dirty_consumer *c, struct fail *why);
void dirty_consumer_remove(struct dirty_log *log, struct dirty_consumer *c);

/* Takes the marks in blocks that have pages (libcommon/populated.h; the mark of a page that does
 * not exist yet waits for the next call), has the accelerator drop its write tags or add its own
 * log, then ORs. When it returns, pages that were named may be read: a later write is marked
 * again. *fresh: pages newly set in c's maps (c may be NULL). No mark is lost to a failure. */
int dirty_sync(struct dirty_log *log, const struct dirty_consumer *c, uint64_t *fresh,
	       struct fail *why);

/* Epochs: what was written since a snapshot. begin in the pause of a save, after dirty_sync; commit
 * when the file is safe; abandon when it is not: its pages go back to the epoch before. */
int dirty_epoch_begin(struct dirty_log *log, const struct uuid *snapshot, struct fail *why);
/* FAIL_REFUSED: no such epoch is pending. */
int dirty_epoch_commit(struct dirty_log *log, const struct uuid *snapshot, struct fail *why);
void dirty_epoch_abandon(struct dirty_log *log);
void dirty_epoch_close(struct dirty_log *log);

#endif
