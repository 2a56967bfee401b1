/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_PRECOPY_INTERNAL_H
#define LIBCOMMON_CLIENT_PRECOPY_INTERNAL_H

#include "libcommon/client/precopy.h"
#include "libcommon/populated.h"

/* What precopy.c, which decides on rounds and the pause, and precopy_copy.c, which copies what is
 * pending, share. */

/* A batch with fewer free slots is sent: short reads cost more than short chunks. */
#define PRECOPY_FREE_MIN  64u
#define PRECOPY_PLAN      1024u        /* ranges */
#define PRECOPY_REGIONS   (sizeof(((struct lease *)0)->rams) / sizeof(struct lease_ram))

struct precopy_rate { uint64_t pages, copy_ns, sink_ns; };

struct precopy {
	struct lease               *l;
	struct precopy_options      o;
	struct precopy_sink         sink;
	struct precopy_report       report;
	uint64_t                    npages[PRECOPY_REGIONS];   /* the lease may be closed first */
	uint64_t                   *pending[PRECOPY_REGIONS];
	uint64_t                   *blocks[PRECOPY_REGIONS];   /* populated.h: pending is empty
								* in all others */
	struct page_batch          *own;            /* when the sink has none */
	struct page_batch          *batch;          /* of rounds, or pause_buffer is full */
	struct lease_range          plan[PRECOPY_PLAN];
	struct page_batch          *pause_buffer;   /* mapping of pause_buffer_max batches */
	size_t                      pause_buffer_max, pause_buffer_ready, paused_batches;
	struct precopy_rate         now, last, all; /* this round; the last one measured; all */
	uint64_t                    sync_ns, barrier_ns;
	uint64_t                    flush_ns, fixed_ns;        /* last flush; pause and state */
	bool                        flushed;        /* since the last round */
	bool                        no_flush;       /* vmrun does not support it */
	uint64_t                    round_done, round_of;
	uint64_t                    renewed_ns;     /* when the pause's deadline was last set */
	bool                        by_sink;        /* the rest goes to the sink while paused */
	bool                        paused;
};

/* A new deadline for the pause. */
int precopy_renew(struct precopy *p, struct fail *why);
/* Between two batches: looks for reasons to stop, and renews the deadline when it is time. */
int precopy_tick(struct precopy *p, struct fail *why);
/* A batch to the sink, its time measured. */
int precopy_sink_pages(struct precopy *p, struct page_batch *b, struct fail *why);
/* Copies all that is pending, counting into *pages and *zeros. */
int precopy_copy(struct precopy *p, uint64_t *pages, uint64_t *zeros, struct fail *why);

#endif
