/* SPDX-License-Identifier: MIT */
#include "format/snapshot/encoder.h"

#include "format/snapshot/adapt.h"
#include "format/snapshot/snapshot_internal.h"
#include "libcommon/io.h"
#include "libcommon/thread.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <unistd.h>

/* A ring of slots. The user's thread fills the slot at `next` and submits it; the workers take
 * submitted slots in their order and pack them side by side; the user's thread emits the oldest
 * slot when it is packed. So the order is kept, and what is in flight is bounded by the ring. */

enum slot_state { SLOT_FREE, SLOT_SUBMITTED, SLOT_TAKEN, SLOT_PACKED };

struct slot {
	enum slot_state    state;      /* under lock; of the rest SLOT_FREE is the user's */
	struct page_batch *batch;
	struct page_codec *codec;
	int                level;      /* to compress at */
	uint64_t           ns;         /* that it took */
	int                rc;
	struct fail        why;
};

struct encoder {
	int              level;        /* SNAP_LEVEL_AUTO: adapt has it */
	bool             urgent;       /* encoder_urgent */
	struct adapt     adapt;        /* the user's, as the next five */
	uint64_t         since_ns;     /* when a batch was last written; 0: none is under way */
	uint64_t         wait_ns;      /* since then, waiting for a batch to be packed */
	struct snap_level levels[SNAP_LEVELS];      /* used, ascending */
	unsigned         nlevels;
	encoder_emit_fn *emit;
	void            *arg;
	struct slot     *slots;
	unsigned         nslots;
	unsigned         next;         /* the user's: slot to fill */
	unsigned         oldest;       /* the user's: slot to emit */
	unsigned         in_flight;    /* the user's: from oldest on */
	unsigned         nthreads;     /* 0: all is done by the user's thread */
	pthread_t        threads[ENCODER_THREADS];
	pthread_mutex_t  lock;
	pthread_cond_t   submitted, packed;
	unsigned         take;         /* slot that the next worker takes */
	uint64_t         ns;           /* in page_chunk_pack */
	bool             stop;
};

static void *encoder_main(void *arg)
{
	struct encoder *e = arg;

	pthread_mutex_lock(&e->lock);
	for (;;) {
		struct slot *s = &e->slots[e->take];

		if (e->stop)
			break;
		if (s->state != SLOT_SUBMITTED) {
			pthread_cond_wait(&e->submitted, &e->lock);
			continue;
		}
		s->state = SLOT_TAKEN;
		e->take  = (e->take + 1) % e->nslots;
		pthread_mutex_unlock(&e->lock);
		s->ns = io_now_ns();
		s->rc = page_chunk_pack(s->codec, s->batch, s->level, &s->why);
		s->ns = io_now_ns() - s->ns;
		pthread_mutex_lock(&e->lock);
		e->ns += s->ns;
		s->state = SLOT_PACKED;
		pthread_cond_signal(&e->packed);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

static int encoder_threads(struct encoder *e, unsigned threads, struct fail *why)
{
	/* With fewer than asked for it only takes longer. */
	while (e->nthreads < threads && thread_start(&e->threads[e->nthreads], encoder_main, e,
						     "compression", why) == 0)
		e->nthreads++;
	return e->nthreads || !threads ? 0 : -1;
}

static unsigned encoder_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > (long)ENCODER_THREADS ? ENCODER_THREADS : (unsigned)n;
}

int encoder_open(struct encoder **out, int level, unsigned threads, encoder_emit_fn *emit,
		 void *arg, struct fail *why)
{
	struct encoder *e = calloc(1, sizeof(*e));

	if (!e)
		return fail_sys(why, "encoder");
	if (threads == 0)
		threads = encoder_cpus();
	if (threads > ENCODER_THREADS)
		threads = ENCODER_THREADS;
	if (level == 0)
		threads = 0;
	e->level  = level;
	e->emit   = emit;
	e->arg    = arg;
	/* One is filled and one is emitted while each worker has one. */
	e->nslots = threads ? threads + 2 : 1;
	e->slots  = calloc(e->nslots, sizeof(*e->slots));
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->submitted, NULL);
	pthread_cond_init(&e->packed, NULL);
	for (unsigned i = 0; e->slots && i < e->nslots; i++) {
		struct slot *s = &e->slots[i];

		s->batch = aligned_alloc(alignof(struct page_batch), sizeof(*s->batch));
		if (!s->batch)
			break;
		if (page_codec_open(&s->codec, why))
			goto failed;
	}
	if (!e->slots || !e->slots[e->nslots - 1].batch) {
		fail_sys(why, "encoder");
		goto failed;
	}
	if (encoder_threads(e, threads, why))
		goto failed;
	adapt_open(&e->adapt, e->nthreads);
	*out = e;
	return 0;
failed:
	encoder_close(e);
	return -1;
}

void encoder_close(struct encoder *e)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_broadcast(&e->submitted);
	pthread_mutex_unlock(&e->lock);
	for (unsigned i = 0; i < e->nthreads; i++)
		pthread_join(e->threads[i], NULL);
	for (unsigned i = 0; e->slots && i < e->nslots; i++) {
		free(e->slots[i].batch);
		page_codec_close(e->slots[i].codec);
	}
	free(e->slots);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->submitted);
	pthread_cond_destroy(&e->packed);
	free(e);
}

int encoder_level(const struct encoder *e)
{
	int level = e->level == SNAP_LEVEL_AUTO ? adapt_level(&e->adapt) : e->level;

	return e->level == SNAP_LEVEL_AUTO && e->urgent && level > ENCODER_URGENT ?
		       ENCODER_URGENT : level;
}

void encoder_urgent(struct encoder *e)
{
	e->urgent = true;
}

static_assert(ADAPT_LEVELS <= SNAP_LEVELS, "a level is not counted");

static void encoder_count(struct encoder *e, int level, uint64_t pages)
{
	unsigned i = 0;

	while (i < e->nlevels && e->levels[i].level < level)
		i++;
	if (i == e->nlevels || e->levels[i].level != level) {
		memmove(&e->levels[i + 1], &e->levels[i],
			(e->nlevels - i) * sizeof(e->levels[0]));
		e->levels[i] = (struct snap_level){ .level = level };
		e->nlevels++;
	}
	e->levels[i].pages += pages;
}

/* The batch is written, which began at sink_begin: the level of those to come follows. */
static void encoder_adapt(struct encoder *e, const struct slot *s, uint64_t sink_begin)
{
	size_t   raw = (size_t)s->batch->ndata * PAGE_SIZE_4K, packed = page_codec_packed(s->codec);
	uint64_t now = io_now_ns();

	if (e->level != SNAP_LEVEL_AUTO || !e->since_ns)
		return;
	adapt_batch(&e->adapt, &(struct adapt_batch){
		.level = s->level, .elapsed_ns = now - e->since_ns, .sink_ns = now - sink_begin,
		.wait_ns = e->wait_ns, .pack_ns = s->ns,
		.raw = raw, .stored = packed ? packed : raw,
	});
	e->since_ns = now;
	e->wait_ns  = 0;
}

/* Emits the oldest slot. wait: until it is packed; otherwise 0 means that it is not. */
static int encoder_emit(struct encoder *e, bool wait, struct fail *why)
{
	struct slot *s     = &e->slots[e->oldest];
	uint64_t     begin = io_now_ns();
	uint64_t     sink;
	bool         ready;

	pthread_mutex_lock(&e->lock);
	while (wait && s->state != SLOT_PACKED)
		pthread_cond_wait(&e->packed, &e->lock);
	ready = s->state == SLOT_PACKED;
	if (ready)
		s->state = SLOT_FREE;
	pthread_mutex_unlock(&e->lock);
	if (!ready)
		return 0;
	e->oldest = (e->oldest + 1) % e->nslots;
	e->in_flight--;
	if (s->rc) {
		*why = s->why;
		return -1;
	}
	sink = io_now_ns();
	e->wait_ns += sink - begin;
	if (e->emit(e->arg, s->codec, s->batch, why))
		return -1;
	encoder_count(e, s->level, s->batch->ndata);
	encoder_adapt(e, s, sink);
	return 1;
}

struct page_batch *encoder_batch(struct encoder *e, struct fail *why)
{
	int rc = 1;

	while (rc > 0 && e->in_flight)
		rc = encoder_emit(e, e->in_flight == e->nslots, why);
	return rc < 0 ? NULL : e->slots[e->next].batch;
}

static void batch_copy(struct page_batch *to, const struct page_batch *from)
{
	page_batch_begin(to, from->region);
	to->nruns   = from->nruns;
	to->ndata   = from->ndata;
	to->nhashed = from->nhashed;
	memcpy(to->runs, from->runs, from->nruns * sizeof(from->runs[0]));
	memcpy(to->hashes, from->hashes, from->nhashed * sizeof(from->hashes[0]));
	memcpy(to->data, from->pages, (size_t)from->ndata * PAGE_SIZE_4K);
}

int encoder_submit(struct encoder *e, struct page_batch *b, struct fail *why)
{
	struct slot *s = &e->slots[e->next];

	if (!e->nthreads) {
		if (page_chunk_pack(s->codec, b, e->level, why) ||
		    e->emit(e->arg, s->codec, b, why))
			return -1;
		encoder_count(e, e->level, b->ndata);
		return 0;
	}
	if (b != s->batch) {
		if (!encoder_batch(e, why))
			return -1;
		s = &e->slots[e->next];
		batch_copy(s->batch, b);
	}
	if (!e->since_ns)
		e->since_ns = io_now_ns();
	s->level = encoder_level(e);
	pthread_mutex_lock(&e->lock);
	s->state = SLOT_SUBMITTED;
	pthread_cond_signal(&e->submitted);
	pthread_mutex_unlock(&e->lock);
	e->next = (e->next + 1) % e->nslots;
	e->in_flight++;
	return 0;
}

unsigned encoder_levels(const struct encoder *e, struct snap_level out[SNAP_LEVELS])
{
	memcpy(out, e->levels, e->nlevels * sizeof(out[0]));
	return e->nlevels;
}

uint64_t encoder_ns(const struct encoder *e)
{
	return e->ns;
}

int encoder_flush(struct encoder *e, struct fail *why)
{
	int rc = 1;

	/* Nothing is read meanwhile, and what comes before the next batch is not the encoder's
	 * business: times that say nothing about the level. */
	e->since_ns = 0;
	while (rc > 0 && e->in_flight)
		rc = encoder_emit(e, true, why);
	e->wait_ns = 0;
	return rc < 0 ? -1 : 0;
}
