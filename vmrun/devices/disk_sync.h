/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DISK_SYNC_H
#define VMRUN_DEVICES_DISK_SYNC_H

#include "libcommon/fail.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Flushes of a disk and samples of its content (format/snapshot/disk_digest.h), for a save or a
 * move.
 *
 * Both can take long, so each disk has a thread that does them with no lock of the VM held; the
 * requester waits on an eventfd, as long as it likes. A pass flushes and reads only what was
 * written since the last pass: one just before a pause makes the one in it short.
 *
 * Linux reports a write-back error once for each open file. When a pass takes that report, the
 * error is kept for the guest: its next FLUSH fails with it, and until then every pass fails. */

struct disk;

struct disk_sync {
	const struct disk *disk;
	bool               open;
	int                done_fd;       /* eventfd: a pass has ended, or disk_sync_signal */
	pthread_t          thread;
	/* One fdatasync at a time: what it reports belongs to who called it. Before lock. */
	pthread_mutex_t    flushing;

	pthread_mutex_t    lock;          /* of what follows; a leaf */
	pthread_cond_t     work;
	bool               stop, wanted, busy;
	/* Of the pass that was requested: read samples; keep them for the next pass. */
	bool               sample, keep;
	uint64_t           written;       /* writes that have ended */
	uint64_t           flushed;       /* those that a successful flush covers */
	int                untold;        /* errno that the guest has not been told of; 0: none */
	uint8_t           *samples;       /* DISK_BLOCKS of DISK_BLOCK; NULL: none */
	uint64_t           stale;         /* samples written since they were read */
	struct fail        why;           /* of the last pass; FAIL_NONE: it was good */
	uint64_t           size, mtime_ns;
	uint8_t            digest[16];
	bool               sampled;       /* the three above are of the last pass */
	uint64_t           flushes, reads;     /* of passes: fdatasyncs, samples read */
};

int disk_sync_open(struct disk_sync *s, const struct disk *disk, struct fail *why);
/* Waits for a pass that is under way. */
void disk_sync_close(struct disk_sync *s);

/* All from any thread, with any lock held but this module's. */
/* For disk.wrote; arg is the struct disk_sync. */
void disk_sync_wrote(void *arg, uint64_t at, uint64_t len);

/* The guest's FLUSH: 0 or an errno. told: that request has been completed with an error. */
int disk_sync_guest_flush(struct disk_sync *s);
void disk_sync_told(struct disk_sync *s);

/* Has the thread flush, and read samples when asked for. When it is done disk_sync_busy is false
 * and done_fd readable. */
void disk_sync_start(struct disk_sync *s, bool sample);
bool disk_sync_busy(struct disk_sync *s);
/* What came of it. FAIL_SYSTEM: busy still, the flush or a read failed, or the guest has to be told
 * of an error first. */
int disk_sync_result(struct disk_sync *s, struct fail *why);
/* Of a pass that has sampled. */
int disk_sync_fingerprint(struct disk_sync *s, uint64_t *size, uint64_t *mtime_ns,
			  uint8_t digest[16], struct fail *why);
/* Drops the samples; the next pass reads all of them. */
void disk_sync_forget(struct disk_sync *s);
void disk_sync_signal(struct disk_sync *s);

#endif
