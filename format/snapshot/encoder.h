/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_ENCODER_H
#define FORMAT_SNAPSHOT_ENCODER_H

#include "format/snapshot/snapshot.h"

/* Compresses batches by several threads and hands them out in the order in which they came. Without
 * compression there is no thread, and nothing is copied or kept. With SNAP_LEVEL_AUTO the level
 * follows what the user's thread waits for (format/snapshot/adapt.h).
 *
 * One user thread: it fills batches, submits them, and is called back with those that are ready,
 * from within its own calls. */

/**
 * encoder_emit_fn - write a batch
 * @arg:   of encoder_open
 * @codec: holds what the batch was compressed to: page_chunk_encode with `level` takes that
 * @b:     the batch; its data pages have their hashes
 */
typedef int encoder_emit_fn(void *arg, struct page_codec *codec, struct page_batch *b,
			    struct fail *why);

struct encoder;

/**
 * encoder_open
 * @out:     out
 * @level:   of compression, as in struct page_chunk_form, or SNAP_LEVEL_AUTO
 * @threads: that compress, 1 to ENCODER_THREADS; 0: as many as there are CPUs
 * @emit:    called for every batch in order
 * @arg:     its first argument
 * @why:     FAIL_SYSTEM
 */
#define ENCODER_THREADS 16u
int encoder_open(struct encoder **out, int level, unsigned threads, encoder_emit_fn *emit,
		 void *arg, struct fail *why);
/* Batches that were not emitted are lost. NULL is fine. */
void encoder_close(struct encoder *e);

/* A batch to fill and submit: the caller's until then. Waits for one, and emits what is ready; NULL
 * with *why when that failed. */
struct page_batch *encoder_batch(struct encoder *e, struct fail *why);
/* b: the one that encoder_batch gave last; or any other, which is copied if there are threads: then
 * none that encoder_batch gave may be in use. */
int encoder_submit(struct encoder *e, struct page_batch *b, struct fail *why);
/* A paused guest waits for what is submitted from now on. With SNAP_LEVEL_AUTO its level is
 * ENCODER_URGENT at most: the threads keep up with a slow sink at any level that auto chooses, but
 * the first batch is written only when it is compressed, which takes one of them a second at
 * level 19 and milliseconds at level 1. */
#define ENCODER_URGENT 1
void encoder_urgent(struct encoder *e);
/* Of the batch that is submitted next. */
int encoder_level(const struct encoder *e);
/* Those of the batches that were emitted, ascending, and the data pages of each; returns how many
 * levels. */
unsigned encoder_levels(const struct encoder *e, struct snap_level out[SNAP_LEVELS]);
/* Time that compressing has taken, of all threads together. */
uint64_t encoder_ns(const struct encoder *e);
/* Emits all that was submitted. */
int encoder_flush(struct encoder *e, struct fail *why);

#endif
