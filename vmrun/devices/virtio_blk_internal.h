/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_BLK_INTERNAL_H
#define VMRUN_DEVICES_VIRTIO_BLK_INTERNAL_H

#include "format/state/state_virtio_blk.h"
#include "vmrun/devices/disk_sync.h"
#include "vmrun/devices/virtio.h"
#include "vmrun/devices/virtio_blk.h"
#include "vmrun/devices/virtio_blk_request.h"

/* Between virtio_blk.c (queue and threads) and virtio_blk_kept.c (requests without space on the
 * host). */

#define BLK_THREADS 2u

struct blk {
	struct virtio           v;
	struct virtio_blk_state s;
	struct disk             disk;
	struct disk_sync        sync;

	/* All with the machine lock. */
	struct blk_request     *first, **last;      /* popped and not begun, in order */
	uint16_t                waiting;            /* how many */
	unsigned                busy;               /* requests that have begun */
	bool                    stop;
	bool                    held;               /* requests that have not begun wait */
	bool                    stalled, told;      /* the host has no space; that was reported */
	bool                    parked;             /* last_avail counts s.kept as not popped */
	pthread_cond_t          work, idle;
	struct blk_worker {
		struct blk *b;
		uint8_t    *buf;      /* BLK_REQUEST_MAX, touched as far as requests reach */
		pthread_t   thread;
	} workers[BLK_THREADS];
	unsigned                nworkers;

	uint64_t                requests, errors, bytes_read, bytes_written;
};

/* virtio_blk_kept.c; all with the machine lock. */
void blk_kept_add(struct blk *b, const struct blk_request *r);
/* The host has no space for r: keeps it and posts VM_EVENT_NO_SPACE. */
void blk_kept_stall(struct blk *b, const struct blk_request *r);
void blk_kept_forget(struct blk *b);
/* For a pause, and for the resume after it. */
void blk_kept_park(struct blk *b);
void blk_kept_unpark(struct blk *b);

#endif
