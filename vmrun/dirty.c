/* SPDX-License-Identifier: MIT */
#include "vmrun/dirty.h"

#include "libcommon/populated.h"
#include "vmrun/accel/accel.h"

#include <errno.h>
#include <stdlib.h>

/* What was written since a snapshot. A pending epoch collects from the pause of its save. The one
 * before it collects nothing in the meantime, and gets the pages back if the save fails. */
struct epoch {
	struct dirty_consumer c;          /* first */
	struct uuid           snapshot;
};

/* The accelerator logs while there is a consumer: logging costs a fault for each page. */
static int dirty_log(struct dirty_log *log, bool on, struct fail *why)
{
	return log->accel->ops->log ? log->accel->ops->log(log->accel, on, why) : 0;
}

static void dirty_link(struct dirty_log *log, struct dirty_consumer *c)
{
	c->next       = log->consumers;
	log->consumers = c;
}

int dirty_consumer_add(struct dirty_log *log, struct dirty_consumer *c, struct fail *why)
{
	if (!log->consumers && dirty_log(log, true, why))
		return -1;
	dirty_link(log, c);
	return 0;
}

void dirty_consumer_remove(struct dirty_log *log, struct dirty_consumer *c)
{
	for (struct dirty_consumer **p = &log->consumers; *p; p = &(*p)->next)
		if (*p == c) {
			struct fail why;

			*p      = c->next;
			c->next = NULL;
			if (!log->consumers)
				/* A log that stays on costs time only. */
				dirty_log(log, false, &why);
			return;
		}
}

/* The words [*w, *end) of r's maps, at or after word *end: those of blocks with pages, as of the
 * last region_look. False: there are no more. */
static bool dirty_words(const struct region *r, size_t *w, size_t *end)
{
	uint64_t first, last;

	if (!populated_next(r->blocks, r->npages, *end * 64, &first, &last))
		return false;
	*w   = (size_t)(first / 64);
	*end = bitmap_words(last);
	return true;
}

/* dst |= src; returns the pages that were not in dst. */
static uint64_t dirty_or(const struct region *r, bitmap_word *dst, const uint64_t *src)
{
	uint64_t fresh = 0;

	for (size_t w, end = 0; dirty_words(r, &w, &end); )
		for (; w < end; w++) {
			uint64_t old;

			if (!src[w])
				continue;
			old    = atomic_fetch_or_explicit(&dst[w], src[w], memory_order_acq_rel);
			fresh += (uint64_t)__builtin_popcountll(src[w] & ~old);
		}
	return fresh;
}

/* Moves r's marks into taken: a mark is never in two places. */
static void dirty_take(struct dirty_log *log, struct region *r, uint64_t *taken)
{
	region_look(r);
	for (size_t w, end = 0; dirty_words(r, &w, &end); ) {
		log->words += end - w;
		bitmap_take(taken + w, r->dirty + w, (end - w) * 64);
	}
}

/* Every mark that was taken goes to every consumer. Returns how many are new to `count`. */
static uint64_t dirty_share(struct dirty_log *log, uint64_t *const taken[],
			    const struct dirty_consumer *count)
{
	uint64_t fresh = 0;

	for (const struct dirty_consumer *c = log->consumers; c; c = c->next)
		for (unsigned i = 0; i < log->memory->nregions; i++) {
			uint64_t n = c->map[i]
					     ? dirty_or(&log->memory->regions[i], c->map[i],
							taken[i])
					     : 0;

			if (c == count)
				fresh += n;
		}
	return fresh;
}

int dirty_sync(struct dirty_log *log, const struct dirty_consumer *c, uint64_t *fresh,
	       struct fail *why)
{
	uint64_t *taken[LIMIT_REGIONS] = { NULL };
	int       rc = -1;

	for (unsigned i = 0; i < log->memory->nregions; i++) {
		taken[i] = bitmap_open(log->memory->regions[i].npages);
		if (!taken[i]) {
			errno = ENOMEM;
			fail_sys(why, "dirty log: bitmaps");
			goto out;
		}
	}
	for (unsigned i = 0; i < log->memory->nregions; i++)
		dirty_take(log, &log->memory->regions[i], taken[i]);

	/* Only after the marks were taken: a vCPU that still writes under an old write tag writes a
	 * page that is in taken[], and no page is read before the tags are gone. The other order
	 * would lose a write between the two. */
	if ((log->consumers || !log->accel->ops->log) &&
	    log->accel->ops->sync_dirty_log(log->accel, taken, why)) {
		/* No mark is lost to a failure. */
		for (unsigned i = 0; i < log->memory->nregions; i++)
			dirty_or(&log->memory->regions[i], log->memory->regions[i].dirty, taken[i]);
		goto out;
	}
	uint64_t n = dirty_share(log, taken, c);

	if (fresh)
		*fresh = n;
	rc = 0;
out:
	for (unsigned i = 0; i < log->memory->nregions; i++)
		bitmap_close(taken[i], log->memory->regions[i].npages);
	return rc;
}

static void epoch_close(struct dirty_log *log, struct epoch *e)
{
	if (!e)
		return;
	dirty_consumer_remove(log, &e->c);
	for (unsigned i = 0; i < log->memory->nregions; i++)
		bitmap_close(e->c.map[i], log->memory->regions[i].npages);
	free(e);
}

static struct epoch *epoch_open(struct dirty_log *log, const struct uuid *snapshot,
				struct fail *why)
{
	struct epoch *e = calloc(1, sizeof(*e));

	for (unsigned i = 0; e && i < log->memory->nregions; i++) {
		e->c.map[i] = bitmap_open(log->memory->regions[i].npages);
		if (!e->c.map[i]) {
			epoch_close(log, e);
			e = NULL;
		}
	}
	if (!e) {
		errno = ENOMEM;
		fail_sys(why, "epoch: bitmaps");
		return NULL;
	}
	e->snapshot = *snapshot;
	return e;
}

int dirty_epoch_begin(struct dirty_log *log, const struct uuid *snapshot, struct fail *why)
{
	struct epoch *e;

	dirty_epoch_abandon(log);     /* of a save that was given up */
	e = epoch_open(log, snapshot, why);
	if (!e)
		return -1;
	if (dirty_consumer_add(log, &e->c, why)) {
		epoch_close(log, e);
		return -1;
	}
	if (log->epoch)
		dirty_consumer_remove(log, &log->epoch->c);
	log->epoch_pending = e;
	return 0;
}

int dirty_epoch_commit(struct dirty_log *log, const struct uuid *snapshot, struct fail *why)
{
	if (!log->epoch_pending || !uuid_equal(&log->epoch_pending->snapshot, snapshot)) {
		char text[UUID_TEXT];

		uuid_text(snapshot, text);
		return fail_set(why, FAIL_REFUSED, "commit: no pending save of snapshot %s", text);
	}
	epoch_close(log, log->epoch);
	log->epoch         = log->epoch_pending;
	log->epoch_pending = NULL;
	return 0;
}

void dirty_epoch_abandon(struct dirty_log *log)
{
	struct epoch *gone = log->epoch_pending;

	if (!gone)
		return;
	log->epoch_pending = NULL;
	if (log->epoch) {
		for (unsigned i = 0; i < log->memory->nregions; i++)
			dirty_or(&log->memory->regions[i], log->epoch->c.map[i],
				 (const uint64_t *)(const void *)gone->c.map[i]);
		/* Not the first consumer: the pending one is still linked, so this cannot fail. */
		dirty_link(log, &log->epoch->c);
	}
	epoch_close(log, gone);
}

void dirty_epoch_close(struct dirty_log *log)
{
	epoch_close(log, log->epoch_pending);
	epoch_close(log, log->epoch);
	log->epoch = log->epoch_pending = NULL;
}
