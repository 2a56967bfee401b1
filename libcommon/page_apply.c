/* SPDX-License-Identifier: MIT */
#include "libcommon/page_apply.h"

#include "libcommon/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct page_apply {
	page_apply_fn           *fn;
	void                    *arg;
	unsigned                 depth;
	pthread_t                thread;
	bool                     running;
	pthread_mutex_t          lock;      /* of all below */
	pthread_cond_t           changed;
	const struct page_batch *queue[PAGE_APPLY_MAX];
	unsigned                 first, queued;      /* what is being applied is still queued */
	bool                     stop, failed;
	struct fail              why;
};

static void *apply_main(void *arg)
{
	struct page_apply *a = arg;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		while (!a->queued && !a->stop)
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->stop)
			break;
		if (!a->failed) {
			struct fail why = { 0 };

			pthread_mutex_unlock(&a->lock);
			int rc = a->fn(a->arg, a->queue[a->first], &why);

			pthread_mutex_lock(&a->lock);
			a->failed = rc != 0;
			a->why    = why;
		}
		a->first = (a->first + 1) % PAGE_APPLY_MAX;
		a->queued--;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int page_apply_open(struct page_apply **out, unsigned depth, page_apply_fn *fn, void *arg,
		    struct fail *why)
{
	struct page_apply *a = calloc(1, sizeof(*a));

	assert(depth >= 1 && depth <= PAGE_APPLY_MAX);
	if (!a)
		return fail_sys(why, "pages");
	a->fn    = fn;
	a->arg   = arg;
	a->depth = depth;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	a->running = thread_start(&a->thread, apply_main, a, "pages", why) == 0;
	if (!a->running) {
		page_apply_close(a);
		return -1;
	}
	*out = a;
	return 0;
}

/* Until at most `most` are queued. With the lock. */
static int apply_wait(struct page_apply *a, unsigned most, struct fail *why)
{
	while (a->queued > most)
		pthread_cond_wait(&a->changed, &a->lock);
	if (a->failed)
		*why = a->why;
	return a->failed ? -1 : 0;
}

int page_apply_submit(struct page_apply *a, const struct page_batch *b, struct fail *why)
{
	int rc;

	pthread_mutex_lock(&a->lock);
	rc = apply_wait(a, a->depth - 1, why);
	if (rc == 0) {
		a->queue[(a->first + a->queued) % PAGE_APPLY_MAX] = b;
		a->queued++;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
	return rc;
}

int page_apply_finish(struct page_apply *a, struct fail *why)
{
	int rc;

	pthread_mutex_lock(&a->lock);
	rc = apply_wait(a, 0, why);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

void page_apply_close(struct page_apply *a)
{
	if (!a)
		return;
	if (a->running) {
		pthread_mutex_lock(&a->lock);
		a->stop = true;
		pthread_cond_broadcast(&a->changed);
		pthread_mutex_unlock(&a->lock);
		pthread_join(a->thread, NULL);
	}
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->changed);
	free(a);
}
