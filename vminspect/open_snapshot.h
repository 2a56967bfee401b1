/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_OPEN_SNAPSHOT_H
#define VMINSPECT_OPEN_SNAPSHOT_H

#include "format/tree/machine.h"
#include "format/snapshot/snapshot.h"
#include "vminspect/rounds.h"
#include "vminspect/input.h"

#include <stdbool.h>
#include <stdint.h>

/* All that the commands ask of a snapshot. A file is opened by its end and index; what comes
 * through a pipe, or what has to be verified, is read in one pass to its end, so nothing of it is
 * shown before all of it has been verified. */
struct snapshot_view {
	struct input       in;
	/* every hash and both digests were verified; else the digests are as END has them */
	bool               checked;
	uint64_t           bytes;
	struct snap_digests digests;
	uint64_t           finals[LIMIT_REGIONS][PAGE_PARENT + 1];
	struct rounds      rounds;                       /* when asked for, or read in one pass */
	/* with rounds: images of state's hosts in it */
	bool               included[LIMIT_HOSTS];
	/* the configuration; the same with the facts of the pause */
	struct machine     config, state;
	/* configuration, state: checked blobs, aligned */
	void              *trees[2];
	size_t             lens[2];
	struct snap_image *image;                        /* NULL when read in one pass */
};

struct view_want {
	bool  verify;                /* read in one pass even a file */
	bool  rounds;
	/* Called in one pass only, NULL for none: after the configuration was read, and for each
	 * batch of pages (later ones win). */
	int (*config)(void *arg, const struct snapshot_view *v, struct fail *why);
	int (*pages)(void *arg, const struct snapshot_view *v, const struct page_batch *b,
		     struct fail *why);
	void *arg;
};

/* On FAIL_VERSION *out may be set though it returns -1: then only in.h is of use. view_close in
 * any case. */
int view_open(struct snapshot_view **out, const char *operand, const struct view_want *want,
	      struct fail *why);
void view_close(struct snapshot_view *v);

static inline bool view_state_only(const struct snapshot_view *v)
{
	return v->in.h.required & SNAP_STATE_ONLY;
}

/* Pages of region i of v->config that no chunk names. */
uint64_t view_untouched(const struct snapshot_view *v, uint32_t i);

#endif
