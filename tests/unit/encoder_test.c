/* SPDX-License-Identifier: MIT */
/* Batches through threads: compressed side by side (format/snapshot/encoder.h), applied while
 * others are read (libcommon/page_apply.h). */
#include "format/snapshot/encoder.h"
#include "libcommon/page_apply.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <pthread.h>

struct seen {
	uint64_t emitted, fail_at;      /* batches; UINT64_MAX: never */
	bool     right;
};

/* Batch n has n % 40 + 1 pages of the number n, the first page's number n. */
static void fill(struct page_batch *b, uint64_t n)
{
	page_batch_begin(b, 0);
	for (uint64_t i = 0; i <= n % 40; i++) {
		uint8_t *slot = page_batch_slot(b);

		for (size_t k = 0; k < 4096; k += 8)
			put_le64(slot + k, n + 1 + (k % 256 ? 0 : rng()));
		page_batch_add_slot(b, n * 100 + i);
	}
}

static int emit(void *arg, struct page_codec *codec, struct page_batch *b, struct fail *why)
{
	static struct page_chunk out;
	static struct page_batch *got;
	struct seen              *s = arg;
	struct chunk              c;
	struct fail               bad;
	static uint8_t            payload[PAGE_CHUNK_MAX];

	if (s->emitted == s->fail_at)
		return fail_set(why, FAIL_SYSTEM, "no more");
	if (!got)
		got = aligned_alloc(4096, (sizeof(*got) + 4095) / 4096 * 4096);
	page_chunk_build(codec, b, &(struct page_chunk_form){ 0 }, &out);
	memcpy(payload, out.head + CHUNK_HEADER_BYTES, out.head_len - CHUNK_HEADER_BYTES);
	memcpy(payload + out.head_len - CHUNK_HEADER_BYTES, out.data, out.data_len);
	s->right = s->right && b->runs[0].first == s->emitted * 100 &&
		   b->ndata == s->emitted % 40 + 1 &&
		   chunk_header_get(&c, out.head, 0, &bad) == 0 &&
		   page_chunk_decode(codec, &c, payload, 0, UINT64_MAX / 4096, got, NULL, &bad) ==
			   0 &&
		   get_le64(got->pages + 8) == s->emitted + 1;
	s->emitted++;
	return 0;
}

static void test_order(int level, unsigned threads, const char *claim)
{
	struct seen     s = { .fail_at = UINT64_MAX, .right = true };
	struct encoder *e;
	struct fail     why;
	const uint64_t  n = 500;
	struct snap_level levels[SNAP_LEVELS];
	unsigned          nlevels;
	uint64_t          pages = 0, counted = 0;

	if (encoder_open(&e, level, threads, emit, &s, &why))
		DIE("encoder: %s", why.what);
	for (uint64_t i = 0; i < n; i++) {
		struct page_batch *b = encoder_batch(e, &why);

		if (!b)
			DIE("encoder: %s", why.what);
		/* Now and then one that is the caller's, and a flush. */
		if (i % 7 == 3)
			b = batch;
		fill(b, i);
		pages += b->ndata;
		if (encoder_submit(e, b, &why))
			DIE("encoder: %s", why.what);
		if (b == batch)
			memset(b->data, 0, 4096);
		if (i % 50 == 49 && (encoder_flush(e, &why) || s.emitted != i + 1))
			DIE("encoder: flush");
	}
	ok(encoder_flush(e, &why) == 0 && s.emitted == n && s.right, claim);
	nlevels = encoder_levels(e, levels);
	for (unsigned i = 0; i < nlevels; i++)
		counted += levels[i].pages;
	ok(counted == pages && (level == SNAP_LEVEL_AUTO || (nlevels == 1 &&
							     levels[0].level == level)),
	   "and each page is counted at its level");
	encoder_close(e);
}

static void test_failures(void)
{
	struct seen     s = { .fail_at = 20, .right = true };
	struct encoder *e;
	struct fail     why = { 0 };
	uint64_t        i;
	int             rc = 0;

	if (encoder_open(&e, 1, 3, emit, &s, &why))
		DIE("encoder: %s", why.what);
	for (i = 0; i < 100 && rc == 0; i++) {
		struct page_batch *b = encoder_batch(e, &why);

		if (!b)
			break;
		fill(b, i);
		rc = encoder_submit(e, b, &why);
	}
	ok(i > 20 && i < 30 && strstr(why.what, "no more"),
	   "a failure of writing comes out of a later call, and soon");
	encoder_close(e);
	if (encoder_open(&e, 1, 3, emit, &s, &why))
		DIE("encoder: %s", why.what);
	batch->nruns = 0;
	ok((encoder_submit(e, batch, &why) || encoder_flush(e, &why)) && why.kind == FAIL_USAGE,
	   "a batch that contradicts itself is refused");
	encoder_close(e);
	if (encoder_open(&e, 1, 2, emit, &s, &why) || !encoder_batch(e, &why))
		DIE("encoder: %s", why.what);
	encoder_close(e);
	ok(true, "one that is closed in the middle ends");
}

static int emit_slow(void *arg, struct page_codec *codec, struct page_batch *b, struct fail *why)
{
	(void)arg;
	(void)codec;
	(void)b;
	(void)why;
	nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
	return 0;
}

static void test_auto(void)
{
	struct encoder *e;
	struct fail     why;
	unsigned        i;

	if (encoder_open(&e, SNAP_LEVEL_AUTO, 1, emit_slow, NULL, &why))
		DIE("encoder: %s", why.what);
	for (i = 0; i < 1000 && encoder_level(e) <= ENCODER_URGENT; i++) {
		struct page_batch *b = encoder_batch(e, &why);

		if (!b)
			DIE("encoder: %s", why.what);
		fill(b, i);
		if (encoder_submit(e, b, &why))
			DIE("encoder: %s", why.what);
	}
	note("level %d after %u batches", encoder_level(e), i);
	ok(encoder_level(e) > ENCODER_URGENT, "auto: the level rises while the sink is slow");
	encoder_urgent(e);
	ok(encoder_level(e) == ENCODER_URGENT, "auto: and is low for a guest that is paused");
	encoder_close(e);
	if (encoder_open(&e, 9, 1, emit_slow, NULL, &why))
		DIE("encoder: %s", why.what);
	encoder_urgent(e);
	ok(encoder_level(e) == 9, "a level that was asked for stays what it is");
	encoder_close(e);
}

struct applied {
	uint64_t n, fail_at;
	bool     right, slow;
};

static int apply(void *arg, const struct page_batch *b, struct fail *why)
{
	struct applied *a = arg;

	if (a->n == a->fail_at)
		return fail_set(why, FAIL_SYSTEM, "no space");
	if (a->slow)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	a->right = a->right && b->runs[0].first == a->n * 100;
	a->n++;
	return 0;
}

static void test_apply(void)
{
	enum { DEPTH = 3 };
	struct page_batch *b[DEPTH + 1];
	struct page_apply *p;
	struct applied     a = { .fail_at = UINT64_MAX, .right = true, .slow = true };
	struct fail        why = { 0 };
	uint64_t           i;

	for (i = 0; i <= DEPTH; i++)
		if (!(b[i] = aligned_alloc(4096, (sizeof(*b[i]) + 4095) / 4096 * 4096)))
			DIE("no memory");
	if (page_apply_open(&p, DEPTH, apply, &a, &why))
		DIE("apply: %s", why.what);
	for (i = 0; i < 300; i++) {
		fill(b[i % (DEPTH + 1)], i);
		if (page_apply_submit(p, b[i % (DEPTH + 1)], &why))
			DIE("apply: %s", why.what);
	}
	ok(page_apply_finish(p, &why) == 0 && a.n == 300 && a.right,
	   "batches are applied in order, none is touched before it has been");
	page_apply_close(p);

	a = (struct applied){ .fail_at = 5, .right = true };
	if (page_apply_open(&p, DEPTH, apply, &a, &why))
		DIE("apply: %s", why.what);
	for (i = 0; i < 100; i++) {
		fill(b[i % (DEPTH + 1)], i);
		if (page_apply_submit(p, b[i % (DEPTH + 1)], &why))
			break;
	}
	ok(i >= 5 && i <= 5 + DEPTH && strstr(why.what, "no space") &&
	   page_apply_finish(p, &why) == -1 && a.n == 5,
	   "a failure stops it, and is reported by each later call");
	page_apply_close(p);
	for (i = 0; i <= DEPTH; i++)
		free(b[i]);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_order(0, 0, "without compression batches are emitted as they come");
	test_order(1, 1, "one thread keeps the order");
	test_order(1, 5, "five threads keep the order");
	test_order(SNAP_LEVEL_AUTO, 3, "and so it is with a level that changes");
	test_auto();
	test_failures();
	test_apply();
	free(batch);
	return done_testing();
}
