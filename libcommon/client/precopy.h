/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_PRECOPY_H
#define LIBCOMMON_CLIENT_PRECOPY_H

#include "libcommon/fail.h"
#include "libcommon/client/lease.h"
#include "libcommon/pages.h"

#include <stdbool.h>
#include <stdint.h>

/* Iterative pre-copy over a lease's dirty bitmaps; one engine for vmsnap and vmmigrate (design.md 4, 7).
 *
 * precopy_rounds() copies every present page, then what the guest dirtied meanwhile, round by
 * round, until the rest can be copied within max_downtime_ns or the rounds run out; before it
 * returns it has the disks flushed and sampled. precopy_pause() then does the switch in the only
 * safe order: pause; state (quiesces devices); last sync; copy the rest into the pause buffer (what
 * does not fit goes straight to the sink, while paused). The caller resumes or hands over, and
 * precopy_drain() gives the buffered pages to the sink. Every page is copied out of the guest
 * before it is looked at. */

struct precopy_sink {
	int  (*pages)(void *arg, const struct page_batch *b, struct fail *why);
	/* After the last page of a round (0 first). May wait for the other side. */
	int  (*round_end)(void *arg, uint32_t round, struct fail *why);
	/* Called between batches, at least every 100 ms of copying: the place for signals. Non-zero stops with -1. */
	int  (*tick)(void *arg, struct fail *why);
	void  *arg;
};

struct precopy_options {
	uint64_t max_downtime_ns;      /* 50 ms */
	uint32_t max_rounds;           /* 30; the pause comes after that many at the latest */
	uint64_t pause_buffer;         /* bytes, 256 MiB */
	unsigned pause_deadline_ms;    /* handed to vmrun: past it the lease is revoked; 10000 */
	bool     pause_by_sink;        /* the rest travels while paused (vmmigrate): precopy_pause gives it to the sink itself and
					* the forecast uses the sink's measured rate. So it is with a pause_buffer of 0 */
	bool     pause_renew;          /* the pause lasts until after precopy_drain: renew its deadline */
	uint64_t silence_ns;           /* a round is ended again when the disks take longer, so that
					* the peer hears of us; 0: never */
	const struct precopy_progress_ops *progress;   /* NULL: silent */
	void    *progress_arg;
};

struct precopy_round {
	uint32_t number;               /* 0 is the first, of all present pages */
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
	uint64_t             map_words;        /* of bitmaps, looked at by the syncs */
	uint64_t             pause_begin_ns;   /* io_now_ns when the pause was asked for */
	bool                 converged;
};

/* Never called while the guest is paused: whoever reads the progress may stall. */
struct precopy_progress_ops {
	void (*round)(void *arg, const struct precopy_round *r);
	void (*copied)(void *arg, uint32_t round, uint64_t done, uint64_t of);
};

struct precopy;
int precopy_open(struct precopy **out, struct lease *l, const struct precopy_options *o, const struct precopy_sink *sink, struct fail *why);
int precopy_rounds(struct precopy *p, struct fail *why);                        /* starts logging by itself */
/* state: malloc'd VM tree with state. epoch: uuid of the snapshot or move. */
int precopy_pause(struct precopy *p, const struct uuid *epoch, uint8_t **state, size_t *len, struct fail *why);
/* Ends the last round (round_end with number nrounds), with a pause_by_sink too. */
int precopy_drain(struct precopy *p, struct fail *why);
const struct precopy_report *precopy_report(const struct precopy *p);
void precopy_close(struct precopy *p);                                          /* the lease stays */

#endif
