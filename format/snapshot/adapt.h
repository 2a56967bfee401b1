/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_ADAPT_H
#define FORMAT_SNAPSHOT_ADAPT_H

#include <stdint.h>

/* The level of --compress=auto, after zstd's --adapt: stronger while writing waits for its sink,
 * weaker while it waits for compression. Arithmetic only; the encoder gives it the times.
 *
 * It judges windows of a few batches, all of one level. Between the limits at which it goes up and
 * down there is a range where it does nothing, and after a step down the next one up has to wait:
 * longer each time, while steps up do not last. */

#define ADAPT_LEVELS 10u
extern const int adapt_levels[ADAPT_LEVELS];      /* ascending; the first is 0, raw */

/**
 * struct adapt_batch - one batch that was written
 * @level:      that it was compressed at
 * @elapsed_ns: since the batch before it was written
 * @sink_ns:    of these, in the write
 * @wait_ns:    of these, waiting for a batch to be compressed, with nothing else to do
 * @pack_ns:    of the thread that compressed it
 * @raw:        bytes of its pages
 * @stored:     bytes of them in the chunk
 */
struct adapt_batch {
	int      level;
	uint64_t elapsed_ns, sink_ns, wait_ns, pack_ns;
	uint64_t raw, stored;
};

struct adapt {
	unsigned           threads;
	unsigned           step;        /* index in adapt_levels */
	unsigned           batches;     /* in the window */
	struct adapt_batch sum;         /* of the window */
	unsigned           hold;        /* windows before the next step up */
	unsigned           backoff;     /* what hold becomes after a step down */
	unsigned           lasted;      /* windows since the last step up */
	/* What the sink took, when last it was what all waited for; sink_ns 0: unknown. */
	uint64_t           sink_bytes, sink_ns;
	unsigned           sink_age;    /* windows since */
};

void adapt_open(struct adapt *a, unsigned threads);
/* Of the next batch. */
int adapt_level(const struct adapt *a);
/* In the order of writing. Batches of an earlier level are ignored. */
void adapt_batch(struct adapt *a, const struct adapt_batch *b);

#endif
