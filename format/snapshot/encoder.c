/* SPDX-License-Identifier: MIT */
#include "format/snapshot/encoder.h"

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
	int                rc;
	struct fail        why;
};

struct encoder {
	int              level;
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
		uint64_t     begin;

		if (e->stop)
			break;
		if (s->state != SLOT_SUBMITTED) {
			pthread_cond_wait(&e->submitted, &e->lock);
			continue;
		}
		s->state = SLOT_TAKEN;
		e->take  = (e->take + 1) % e->nslots;
		pthread_mutex_unlock(&e->lock);
		begin = io_now_ns();
		s->rc = page_chunk_pack(s->codec, s->batch, e->level, &s->why);
		pthread_mutex_lock(&e->lock);
		e->ns += io_now_ns() - begin;
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

/* Emits the oldest slot. wait: until it is packed; otherwise 0 means that it is not. */
static int encoder_emit(struct encoder *e, bool wait, struct fail *why)
{
	struct slot *s = &e->slots[e->oldest];
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
	return e->emit(e->arg, s->codec, s->batch, why) ? -1 : 1;
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
		if (page_chunk_pack(s->codec, b, e->level, why))
			return -1;
		return e->emit(e->arg, s->codec, b, why);
	}
	if (b != s->batch) {
		if (!encoder_batch(e, why))
			return -1;
		s = &e->slots[e->next];
		batch_copy(s->batch, b);
	}
	pthread_mutex_lock(&e->lock);
	s->state = SLOT_SUBMITTED;
	pthread_cond_signal(&e->submitted);
	pthread_mutex_unlock(&e->lock);
	e->next = (e->next + 1) % e->nslots;
	e->in_flight++;
	return 0;
}

uint64_t encoder_ns(const struct encoder *e)
{
	return e->ns;
}

int encoder_flush(struct encoder *e, struct fail *why)
{
	int rc = 1;

	while (rc > 0 && e->in_flight)
		rc = encoder_emit(e, true, why);
	return rc < 0 ? -1 : 0;
}
