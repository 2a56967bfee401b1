/* SPDX-License-Identifier: MIT */
/* Pages that the target of a move writes in a thread: their order, what waits for them, and what
 * becomes of a failure. The writes themselves (page_sink_batch) can be held up and made to fail. */
#include "format/snapshot/snapshot.h"
#include "libcommon/page_sink.h"
#include "tests/unit/tap.h"
#include "vmmigrate/receiver.h"
#include "vmmigrate/target_check.h"
#include "vmmigrate/target_fill.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NPAGES 4096u
#define CHUNK  64u            /* pages of each chunk here */
#define LONG   (10 * WIRE_SECOND)

static struct fail        why;
static struct lease       lease;
static struct wire       *source, *target;
static struct page_codec *codec;

/* ---- stand-ins for what target_fill() needs beside the receiver ---- */

int move_images_piece(struct move_images *i, const uint8_t *payload, size_t len, struct lease *l,
		      uint64_t cache_max, struct fail *cache, struct fail *f)
{
	(void)i, (void)payload, (void)len, (void)l, (void)cache_max, (void)cache;
	return fail_set(f, FAIL_PEER, "unexpected image");
}

bool move_images_whole(const struct move_images *i)
{
	(void)i;
	return true;
}

int target_check_memory(uint64_t bytes, struct fail *f)
{
	(void)bytes, (void)f;
	return 0;
}

/* ---- the writes ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  gate_moved = PTHREAD_COND_INITIALIZER;
static bool            gate_shut;
static unsigned        gate_arrived, fail_after;      /* writes begun; of them good, if not 0 */

int __real_page_sink_batch(struct page_sink *s, const struct page_batch *b, struct fail *f);
int __wrap_page_sink_batch(struct page_sink *s, const struct page_batch *b, struct fail *f);
int __wrap_page_sink_batch(struct page_sink *s, const struct page_batch *b, struct fail *f)
{
	unsigned n;

	pthread_mutex_lock(&gate_lock);
	n = gate_arrived++;
	pthread_cond_broadcast(&gate_moved);
	while (gate_shut)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
	if (fail_after && n >= fail_after)
		return fail_set(f, FAIL_SYSTEM, "no memory left");
	return __real_page_sink_batch(s, b, f);
}

static void gate_set(bool shut)
{
	pthread_mutex_lock(&gate_lock);
	gate_shut = shut;
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&gate_lock);
}

/* Until that many writes have begun since the pair was opened. */
static void gate_wait(unsigned n)
{
	pthread_mutex_lock(&gate_lock);
	while (gate_arrived < n)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

static unsigned writes(void)
{
	pthread_mutex_lock(&gate_lock);
	unsigned n = gate_arrived;

	pthread_mutex_unlock(&gate_lock);
	return n;
}

/* ---- the target in a thread ---- */

static struct receiver *receiver;
static pthread_t        thread;
static struct fill {
	struct target_fill fill;
	struct message     m;
	int                rc;
	uint8_t            state;
	struct fail        why;
} filled;

static void *fill_main(void *arg)
{
	struct fill   *f = arg;
	struct chunk   c;
	const uint8_t *state;

	f->rc    = target_fill(&f->fill, &c, &state, &f->why);
	f->state = f->rc == 0 ? *state : 0;
	/* A source that is sending must not wait for it. */
	if (f->rc)
		shutdown(f->fill.wire->fd, SHUT_RDWR);
	return NULL;
}

static void fill_begin(void)
{
	int sv[2], fd = memfd_create("ram", MFD_CLOEXEC);

	gate_arrived = fail_after = 0;
	gate_shut    = false;
	lease        = (struct lease){ .nrams = 1 };
	lease.rams[0] = (struct lease_ram){ .npages = NPAGES, .fd = fd };
	lease.rams[0].r = (struct lease_region){
		.size = NPAGES * PAGE_SIZE_4K, .page_size = PAGE_SIZE_4K, .name = "ram",
	};
	if (fd < 0 || ftruncate(fd, NPAGES * PAGE_SIZE_4K) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
	    wire_open(&source, sv[0], "source", &why) ||
	    wire_open(&target, sv[1], "target", &why) || receiver_open(&receiver, &lease, &why))
		exit(1);
	filled = (struct fill){
		.fill = { .wire = target, .m = &filled.m, .receiver = receiver,
			  .populated = NPAGES * PAGE_SIZE_4K },
	};
	if (pthread_create(&thread, NULL, fill_main, &filled))
		exit(1);
}

/* Its result, once it has returned. */
static int fill_result(void)
{
	pthread_join(thread, NULL);
	why = filled.why;
	return filled.rc;
}

static void fill_end(void)
{
	wire_close(source);
	wire_close(target);
	receiver_close(receiver);
	close(lease.rams[0].fd);
}

/* ---- what the source sends ---- */

/* CHUNK pages from `first`, each full of `value`; 0: zero pages. -1: the target has closed. */
static int send_pages_to(struct wire *w, uint64_t first, uint8_t value)
{
	static struct page_batch b;
	static struct page_chunk p;
	struct page_chunk_form   form = { .sequence = w->sequence };

	page_batch_begin(&b, 0);
	for (uint64_t i = first; i < first + CHUNK; i++) {
		if (value)
			memset(page_batch_slot(&b), value, PAGE_SIZE_4K);
		if (value)
			page_batch_add_data(&b, i);
		else
			page_batch_add_zero(&b, i);
	}
	if (page_chunk_encode(codec, &b, &form, &p, &why))
		exit(1);
	return wire_send_pages(w, &p, false, &why);
}

static void send_pages(uint64_t first, uint8_t value)
{
	if (send_pages_to(source, first, value))
		exit(1);
}

static void send_round(uint64_t chunks)
{
	static struct message m = { .type = MSG_ROUND };

	m.chunk = chunks;
	if (wire_send_message(source, &m, &why))
		exit(1);
}

static bool acknowledged(uint64_t chunks)
{
	static struct message m;

	return wire_recv_message(source, &m, LONG, &why) == 0 && m.type == MSG_ROUND_ACK &&
	       m.chunk == chunks;
}

/* Nothing comes for as long as something would have needed to come. */
static bool silent(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	return !wire_pending(source);
}

/* CHUNK pages from `first` of the target's memory are full of `value`. */
static bool holds(uint64_t first, uint8_t value)
{
	static uint8_t p[CHUNK * PAGE_SIZE_4K];

	if (pread(lease.rams[0].fd, p, sizeof(p), (off_t)(first * PAGE_SIZE_4K)) !=
	    (ssize_t)sizeof(p))
		exit(1);
	for (size_t i = 0; i < sizeof(p); i++)
		if (p[i] != value)
			return false;
	return true;
}

/* ---- the tests ---- */

static void test_order(void)
{
	uint64_t sent = 0;
	bool     right = true;

	fill_begin();
	for (unsigned round = 0; round < 20; round++) {
		/* The same pages again and again, zeros in between: the last chunk counts. */
		for (unsigned i = 0; i < 8; i++, sent++)
			send_pages(i % 2 * (CHUNK / 2), (uint8_t)(i % 3 ? round * 8 + i : 0));
		send_pages(CHUNK * 2, (uint8_t)(round + 1));
		sent++;
		send_round(sent);
		right = right && acknowledged(sent) &&
			holds(CHUNK / 2, (uint8_t)(round * 8 + 7)) &&
			holds(CHUNK * 2, (uint8_t)(round + 1));
	}
	ok(right && writes() == sent,
	   "chunks are written in their order, and before the ROUND-ACK");
	shutdown(source->fd, SHUT_WR);
	ok(fill_result() == -1 && why.kind == FAIL_PEER, "the end of the connection ends it");
	fill_end();
}

static void test_barrier(void)
{
	fill_begin();
	gate_set(true);
	send_pages(0, 1);
	send_pages(CHUNK, 2);
	send_round(2);
	gate_wait(1);
	ok(silent(), "a ROUND is not acknowledged while a chunk before it is being written");
	gate_set(false);
	ok(acknowledged(2) && holds(0, 1) && holds(CHUNK, 2), "it is once all are in memory");
	gate_set(true);
	send_pages(0, 3);
	if (wire_send(source, CHUNK_STATE, "S", 1, false, &why))
		exit(1);
	gate_wait(3);
	/* target_fill() returns no earlier: the thread that waits for it is released below. */
	gate_set(false);
	ok(fill_result() == 0 && filled.state == 'S' && holds(0, 3),
	   "with STATE all pages are in memory");
	fill_end();
}

/* A source that does not wait for the ROUND-ACK is slowed down, and nothing is lost. */
static void *send_many(void *arg)
{
	for (unsigned i = 0; i < NPAGES / CHUNK; i++)
		send_pages(i * CHUNK, (uint8_t)(i + 1));
	send_round(NPAGES / CHUNK);
	return arg;
}

static void test_bound(void)
{
	pthread_t sender;
	bool      right = true;

	fill_begin();
	gate_set(true);
	if (pthread_create(&sender, NULL, send_many, NULL))
		exit(1);
	gate_wait(1);
	bool waited = silent() && writes() == 1;

	gate_set(false);
	right = acknowledged(NPAGES / CHUNK);
	for (unsigned i = 0; i < NPAGES / CHUNK; i++)
		right = right && holds(i * CHUNK, (uint8_t)(i + 1));
	pthread_join(sender, NULL);
	ok(waited && right, "what was received is kept until it has been written");
	shutdown(source->fd, SHUT_WR);
	fill_result();
	fill_end();
}

static void test_failure(void)
{
	fill_begin();
	fail_after = 1;
	send_pages(0, 1);
	send_pages(CHUNK, 2);
	send_round(2);
	ok(!acknowledged(2) && fill_result() == -1 && strstr(why.what, "no memory left") &&
	   holds(0, 1) && holds(CHUNK, 0), "a failed write ends the move instead of the ROUND-ACK");
	fill_end();

	fill_begin();
	fail_after = 1;
	unsigned n = 0;

	/* Some may be sent still after the failure, which the next call reports. */
	while (n < 4 && send_pages_to(source, n * CHUNK, (uint8_t)(n + 1)) == 0)
		n++;
	wire_send(source, CHUNK_STATE, "S", 1, false, &why);
	ok(n >= 2 && fill_result() == -1 && strstr(why.what, "no memory left"),
	   "and STATE is not accepted");
	ok(writes() == 2 && holds(CHUNK, 0) && holds(2 * CHUNK, 0) && holds(3 * CHUNK, 0),
	   "nothing is written after it");
	fill_end();

	fill_begin();
	gate_set(true);
	send_pages(0, 1);
	gate_wait(1);
	shutdown(source->fd, SHUT_WR);
	fill_result();
	gate_set(false);
	receiver_close(receiver);
	receiver = NULL;
	ok(holds(0, 1), "a connection that is lost during a write ends after it");
	fill_end();
}

static void test_audit(void)
{
	static struct message m = { .type = MSG_AUDIT, .pages = CHUNK };
	static uint8_t        page[PAGE_SIZE_4K];

	fill_begin();
	gate_set(true);
	memset(page, 9, sizeof(page));
	for (unsigned i = 0; i < CHUNK; i++)
		m.hashes[i] = page_hash(page);
	send_pages(0, 9);
	if (wire_send_message(source, &m, &why))
		exit(1);
	m.type = MSG_AUDIT_END;
	if (wire_send_message(source, &m, &why))
		exit(1);
	gate_wait(1);
	bool waited = silent();

	gate_set(false);
	ok(waited && wire_recv_message(source, &m, LONG, &why) == 0 && m.type == MSG_AUDITED &&
	   m.pages == CHUNK && m.differ == 0, "an audit sees what was received before it");
	shutdown(source->fd, SHUT_WR);
	fill_result();
	fill_end();
}

int main(void)
{
	if (page_codec_open(&codec, &why))
		exit(1);
	test_order();
	test_barrier();
	test_bound();
	test_failure();
	test_audit();
	page_codec_close(codec);
	return done_testing();
}
