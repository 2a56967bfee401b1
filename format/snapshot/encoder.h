/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_ENCODER_H
#define FORMAT_SNAPSHOT_ENCODER_H

#include "format/snapshot/snapshot.h"

/* Compresses batches by several threads and hands them out in the order in which they came. Without
 * compression there is no thread, and nothing is copied or kept.
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
 * @level:   of compression, as in struct page_chunk_form
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
/* Time that compressing has taken, of all threads together. */
uint64_t encoder_ns(const struct encoder *e);
/* Emits all that was submitted. */
int encoder_flush(struct encoder *e, struct fail *why);

#endif
