/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_PRECOPY_H
#define LIBCOMMON_CLIENT_PRECOPY_H

#include "libcommon/client/lease.h"
#include "libcommon/fail.h"
#include "libcommon/pages.h"

#include <stdbool.h>
#include <stdint.h>

/* Iterative pre-copy over a lease's dirty bitmaps: one engine for vmsnap and vmmigrate
 * (docs/control.md 6, docs/architecture.md, "The life of a page").
 *
 * precopy_rounds() copies every present page, then what the guest has dirtied in the meantime,
 * round by round, until the rest can be copied within max_downtime_ns or the rounds are used up;
 * before it returns it has the disks flushed and sampled. precopy_pause() then does the switch in
 * the only safe order: pause; state, which quiesces devices; last sync; copy of the rest into the
 * pause buffer (what does not fit goes to the sink, while paused). The caller resumes or hands
 * over, and precopy_drain() gives the buffered pages to the sink. Every page is copied out of the
 * guest before it is examined.
 *
 * One thread: nothing is locked. It owns the lease from precopy_open() to precopy_close(). */

/**
 * struct precopy_sink - where pages go; each returns 0, or -1 with *why, which ends the pre-copy
 * @batch:     the batch to fill next while the guest runs; NULL with *why. NULL: the pre-copy's own
 * @pages:     a batch of one region, at most BATCH_PAGES data pages, all with their hash; valid
 *             during the call
 * @round_end: after the last page of a round; the first is 0. May wait for the other side
 * @tick:      between batches, and every 100 ms while disks are flushed: looks for signals and
 *             other reasons to stop. NULL for none
 * @arg:       first argument of each
 */
struct precopy_sink {
	struct page_batch *(*batch)(void *arg, struct fail *why);
	int  (*pages)(void *arg, struct page_batch *b, struct fail *why);
	int  (*round_end)(void *arg, uint32_t round, struct fail *why);
	int  (*tick)(void *arg, struct fail *why);
	void  *arg;
};

/**
 * struct precopy_options
 * @max_downtime_ns:   rounds go on while the forecast of the pause is above it; usual: 50 ms
 * @max_rounds:        the pause comes after that many at the latest; usual: 30
 * @batch_pages:       data pages of a batch that the sink takes while the guest runs, up to
 *                     BATCH_PAGES; 0 for that. Fewer stay in the cache until the sink writes them
 * @pause_buffer:      bytes that are copied aside during the pause, usual: 256 MiB; 0: as
 *                     @pause_by_sink
 * @pause_deadline_ms: past it vmrun revokes the lease, 1 to 600000; usual: 10000
 * @pause_by_sink:     the rest is given to the sink while the VM is paused (vmmigrate), and the
 *                     forecast counts the sink's measured rate
 * @pause_renew:       the pause lasts until after precopy_drain(): its deadline is renewed
 * @silence_ns:        @round_end is called again when disks take longer than that, so that the peer
 *                     does not time out; 0 for never
 * @progress:          NULL for none
 * @progress_arg:      first argument of its functions
 */
struct precopy_options {
	uint64_t max_downtime_ns;
	uint32_t max_rounds;
	uint32_t batch_pages;
	uint64_t pause_buffer;
	unsigned pause_deadline_ms;
	bool     pause_by_sink;
	bool     pause_renew;
	uint64_t silence_ns;
	const struct precopy_progress_ops *progress;
	void    *progress_arg;
};

struct precopy_round {
	uint32_t number;               /* 0: the first, of all present pages */
	uint64_t pages, zero_pages;    /* sent in it; zero ones among them */
	uint64_t dirty_after;          /* pages dirty at its end */
	uint64_t ns;
};

struct precopy_report {
	uint32_t             nrounds;          /* while the guest ran */
	struct precopy_round rounds[64];       /* the first 64 */
	uint64_t             pages_total;      /* sent, the pause's included */
	uint64_t             pages_paused;     /* copied after the pause */
	uint64_t             ram_pages, present_pages;
	uint64_t             map_words;        /* of bitmaps, read by the syncs */
	uint64_t             read_ns;          /* reading pages and looking for zero ones */
	uint64_t             hash_ns;
	uint64_t             pause_begin_ns;   /* io_now_ns() when the pause was asked for */
	bool                 converged;        /* the forecast was within max_downtime_ns */
};

/* Never called while the guest is paused: whoever reads the progress may stall. of: pages of the
 * round, done: those copied so far. */
struct precopy_progress_ops {
	void (*round)(void *arg, const struct precopy_round *r);
	void (*copied)(void *arg, uint32_t round, uint64_t done, uint64_t of);
};

struct precopy;

/**
 * precopy_open - buffers for a pre-copy; nothing is asked of vmrun yet
 * @out:  out, closed by precopy_close(); the lease stays the caller's
 * @l:    logging lease
 * @o:    copied
 * @sink: copied
 * @why:  FAIL_SYSTEM without memory; FAIL_LIMIT for a region whose pages are not 4096 bytes
 *
 * Return: 0 or -1.
 */
int precopy_open(struct precopy **out, struct lease *l, const struct precopy_options *o,
		 const struct precopy_sink *sink, struct fail *why);

/**
 * precopy_rounds - start the dirty log and copy while the guest runs
 * @why: what the lease or the sink reports
 *
 * Return: 0, the report says whether it converged; or -1.
 */
int precopy_rounds(struct precopy *p, struct fail *why);

/**
 * precopy_pause - pause the VM, take its state, copy the rest
 * @epoch: uuid of the snapshot or move; names the epoch that begins
 * @state: out, VM tree with state, malloc'd; NULL on failure
 * @len:   out, its bytes
 * @why:   what the lease or the sink reports
 *
 * After a failure the VM may still be paused: the caller ends the lease's pause or the lease.
 *
 * Return: 0 or -1.
 */
int precopy_pause(struct precopy *p, const struct uuid *epoch, uint8_t **state, size_t *len,
		  struct fail *why);

/**
 * precopy_drain - give the pages of the pause to the sink, and end the last round
 * @why: what the sink reports
 *
 * Calls round_end with number nrounds, with @pause_by_sink too.
 *
 * Return: 0 or -1.
 */
int precopy_drain(struct precopy *p, struct fail *why);

/* Of what has been done so far; valid until precopy_close(). */
const struct precopy_report *precopy_report(const struct precopy *p);

/* NULL allowed. */
void precopy_close(struct precopy *p);

#endif
