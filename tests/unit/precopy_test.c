/* SPDX-License-Identifier: MIT */
/* The pre-copy engine against a fake vmrun: a lease server on a socketpair over memfds, with a
 * thread that writes random pages and marks them after the write, as a vCPU would. What the sink
 * was given must equal memory at the pause. */
#include "tests/unit/tap.h"

#include "libcommon/io.h"
#include "libcommon/client/precopy.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#define REGIONS 2
static const uint64_t region_pages[REGIONS] = { 5000, 70 };
static const uint32_t region_ids[REGIONS] = { 0, 7 };

struct fake_region {
	int          fd, round_fd, present_fd;
	uint64_t     npages;
	uint8_t     *mem;
	bitmap_word *marks;          /* what the writer marks: vmrun's own */
	bitmap_word *round;
	uint64_t    *present;
	bitmap_word *cleared;        /* since the last sync */
	uint64_t    *known;          /* present at start, or synced: nothing else may be read */
	uint8_t     *golden;         /* memory at the last sync of the pause */
	uint8_t     *copy;           /* what the sink was given */
	uint64_t    *given;
};

struct fake {
	struct fake_region r[REGIONS];
	int                fd;
	pthread_t          server, writer;
	_Atomic bool       stop, writing, held, paused, resumed;
	_Atomic uint64_t   writes;
	uint64_t           synced;          /* writes at the last sync */
	unsigned           pace_us, seed;
	unsigned           lose_after;      /* requests after which the lease is lost, 0 never */
	bool               lose_silently;
	bool               lose_renewing;   /* the deadline has passed when RENEW comes */
	uint64_t           flush_ns, fixed_ns;     /* what LEASE_FLUSH answers */
	bool               flush_halves;           /* the next in half the time */
	enum fail_kind     flush_fails;
	bool flush_slow; /* answered only when the sink's round was ended */
	_Atomic unsigned   flushing, ends_flushing;
	char               log[1 << 16];    /* a letter a verb */
	size_t             nlog;
	/* rule broken: pages the sink should not have been given */
	unsigned           bad;
	unsigned           paused_pages;
};

static uint64_t rnd(unsigned *seed)
{
	uint64_t x = *seed * 6364136223846793005ull + 1442695040888963407ull;

	*seed = (unsigned)(x >> 32);
	return x >> 33;
}

static void fake_write(struct fake *f, unsigned *seed)
{
	struct fake_region *r = &f->r[rnd(seed) % 8 == 0];
	uint64_t            page = rnd(seed) % r->npages;
	uint8_t            *p = r->mem + page * 4096;

	if (rnd(seed) % 16 == 0) {
		memset(p, 0, 4096);
	} else {
		uint64_t v = rnd(seed);

		memcpy(p + rnd(seed) % 510 * 8, &v, 8);
	}
	bitmap_mark(r->marks, page);
	atomic_fetch_add(&f->writes, 1);
}

/* On a busy machine the writer may not get to run between two syncs: a guest that writes has
 * written by then. */
static void fake_wait_writes(struct fake *f)
{
	uint64_t want = f->synced + (f->pace_us ? 8 : 4096);

	while (atomic_load(&f->writing) && !atomic_load(&f->held) && atomic_load(&f->writes) < want)
		usleep(50);
	f->synced = atomic_load(&f->writes);
}

static void *fake_writer(void *arg)
{
	struct fake *f = arg;
	unsigned     seed = f->seed ^ 0x5555;

	while (!atomic_load(&f->stop)) {
		if (atomic_load(&f->held)) {
			atomic_store(&f->paused, true);
			usleep(50);
			continue;
		}
		atomic_store(&f->paused, false);
		if (atomic_load(&f->writing))
			for (int i = 0; i < 8; i++)
				fake_write(f, &seed);
		if (f->pace_us)
			usleep(f->pace_us);
	}
	return NULL;
}

static void fake_sync(struct fake *f)
{
	for (int i = 0; i < REGIONS; i++) {
		struct fake_region *r = &f->r[i];

		for (size_t w = 0; w < bitmap_words(r->npages); w++) {
			uint64_t got = atomic_exchange(&r->marks[w], 0);

			r->known[w] |= got;
			atomic_store(&r->cleared[w], 0);
			atomic_fetch_or(&r->round[w], got);
		}
		if (f->paused)
			memcpy(r->golden, r->mem, r->npages * 4096);
	}
}

static int fake_index(uint64_t id)
{
	return id == region_ids[1] ? 1 : 0;
}

static int fake_serve(struct fake *f, struct lease_msg *m)
{
	static const char letters[] = "?LgCsyc.PRS...........qNF";
	struct fail why;
	int         fds[2];
	size_t      nfds = 0;
	int         i;

	if (f->nlog < sizeof(f->log) - 1 && m->verb < sizeof(letters) - 1)
		f->log[f->nlog++] = letters[m->verb];
	switch (m->verb) {
	case LEASE_REGIONS:
		m->a[0] = REGIONS;
		if (io_packet_send(f->fd, m, sizeof(*m), NULL, 0, "fake", &why))
			return -1;
		for (i = 0; i < REGIONS; i++) {
			struct lease_region lr = { .id = region_ids[i],
						   .size = region_pages[i] * 4096,
						   .page_size = 4096, .name = "ram" };

			m->region = lr;
			if (io_packet_send(f->fd, m, sizeof(*m), &f->r[i].fd, 1, "fake", &why))
				return -1;
		}
		return 0;
	case LEASE_LOG_START:
		i = fake_index(m->a[0]);
		fds[0] = f->r[i].round_fd;
		fds[1] = f->r[i].present_fd;
		nfds = 2;
		for (size_t w = 0; w < bitmap_words(f->r[i].npages); w++)
			atomic_fetch_or(&f->r[i].round[w], f->r[i].present[w]);
		break;
	case LEASE_SYNC:
		fake_wait_writes(f);
		fake_sync(f);
		break;
	case LEASE_CLEAR:
		bitmap_mark_range(f->r[fake_index(m->a[0])].cleared, m->a[1], m->a[2]);
		break;
	case LEASE_FLUSH:
		atomic_store(&f->flushing, 1);
		while (f->flush_slow && !atomic_load(&f->ends_flushing))
			sched_yield();
		atomic_store(&f->flushing, 0);
		m->a[0] = f->flush_ns;
		m->a[1] = f->fixed_ns;
		f->flush_ns /= f->flush_halves ? 2 : 1;
		if (f->flush_fails != FAIL_NONE) {
			m->status = LEASE_REFUSED;
			m->kind   = f->flush_fails;
		}
		break;
	case LEASE_PAUSE:
		atomic_store(&f->held, true);
		while (!atomic_load(&f->paused))
			usleep(50);
		break;
	case LEASE_STATE:
		/* saving state dirties memory */
		for (unsigned n = 0, seed = f->seed; n < 20; n++)
			fake_write(f, &seed);
		fds[0] = io_memfd("state", "state", 6, &why);
		m->a[0] = 6;
		nfds = 1;
		break;
	case LEASE_RENEW:
		break;
	case LEASE_RESUME:
		atomic_store(&f->resumed, true);
		atomic_store(&f->paused, false);
		atomic_store(&f->held, false);
		break;
	default:
		m->status = LEASE_REFUSED;
	}
	return io_packet_send(f->fd, m, sizeof(*m), fds, nfds, "fake", &why);
}

static void *fake_server(void *arg)
{
	struct fake     *f = arg;
	struct lease_msg m;
	struct fail      why;
	size_t           got;
	unsigned         n = 0;

	while (io_packet_recv(f->fd, &m, sizeof(m), &got, NULL, NULL, 0, "fake", &why) == 0 &&
	       got == sizeof(m)) {
		if ((f->lose_after && ++n >= f->lose_after) ||
		    (f->lose_renewing && m.verb == LEASE_RENEW)) {
			struct lease_msg lost = { .verb = LEASE_LOST, .kind = FAIL_ENDED,
						  .text = "guest-shutdown" };

			if (!f->lose_silently)
				io_packet_send(f->fd, &lost, sizeof(lost), NULL, 0, "fake", &why);
			break;
		}
		if (fake_serve(f, &m))
			break;
	}
	shutdown(f->fd, SHUT_RDWR);
	close(f->fd);
	return NULL;
}

static void *map(int fd, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static struct lease *fake_open(struct fake *f, unsigned seed)
{
	struct lease *l = NULL;
	struct fail   why = { 0 };
	int           pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
	f->fd   = pair[1];
	f->seed = seed;
	for (int i = 0; i < REGIONS; i++) {
		struct fake_region *r = &f->r[i];
		size_t              words = bitmap_words(region_pages[i]);

		r->npages     = region_pages[i];
		r->fd         = memfd_create("ram", MFD_CLOEXEC);
		r->round_fd   = memfd_create("round", MFD_CLOEXEC);
		r->present_fd = memfd_create("present", MFD_CLOEXEC);
		if (ftruncate(r->fd, (off_t)(r->npages * 4096)) ||
		    ftruncate(r->round_fd, (off_t)(words * 8)) ||
		    ftruncate(r->present_fd, (off_t)(words * 8)))
			abort();
		r->mem     = map(r->fd, r->npages * 4096);
		r->round   = map(r->round_fd, words * 8);
		r->present = map(r->present_fd, words * 8);
		r->marks   = calloc(words, 8);
		r->cleared = calloc(words, 8);
		r->known   = calloc(words, 8);
		r->given   = calloc(words, 8);
		r->golden  = calloc(r->npages, 4096);
		r->copy    = calloc(r->npages, 4096);
		for (uint64_t p = 0; p < r->npages; p++) {
			uint64_t at = rnd(&seed);

			if (p % 700 >= 350)      /* large holes */
				continue;
			if (at % 8)
				memcpy(r->mem + p * 4096 + at % 4088, &at, 8);
			else
				r->mem[p * 4096] = 0;
			bitmap_set(r->present, p);
			bitmap_set(r->known, p);
		}
	}
	pthread_create(&f->server, NULL, fake_server, f);
	pthread_create(&f->writer, NULL, fake_writer, f);
	if (lease_adopt(&l, pair[0], "fake", &why))
		abort();
	return l;
}

static void fake_close(struct fake *f, struct lease *l)
{
	lease_close(l);
	atomic_store(&f->stop, true);
	pthread_join(f->server, NULL);
	pthread_join(f->writer, NULL);
	for (int i = 0; i < REGIONS; i++) {
		struct fake_region *r = &f->r[i];

		munmap(r->mem, r->npages * 4096);
		munmap(r->round, bitmap_bytes(r->npages));
		munmap(r->present, bitmap_bytes(r->npages));
		close(r->fd);
		close(r->round_fd);
		close(r->present_fd);
		free(r->marks);
		free(r->cleared);
		free(r->known);
		free(r->given);
		free(r->golden);
		free(r->copy);
	}
}

static int sink_pages(void *arg, struct page_batch *b, struct fail *why)
{
	struct fake        *f = arg;
	struct fake_region *r = &f->r[fake_index(b->region)];
	const uint8_t      *data = b->pages;
	uint64_t            last = 0;

	(void)why;
	for (uint32_t i = 0; i < b->nruns; i++) {
		if (b->runs[i].first < last || b->runs[i].count == 0 ||
		    b->runs[i].first + b->runs[i].count > r->npages)
			f->bad++;
		last = b->runs[i].first + b->runs[i].count;
		for (uint64_t p = b->runs[i].first; p < last && p < r->npages; p++) {
			bool cleared = atomic_load(&r->cleared[p / 64]) >> (p % 64) & 1;

			if (!bitmap_test(r->known, p) || (!f->held && !f->resumed && !cleared))
				f->bad++;
			if (atomic_load(&f->held))
				f->paused_pages++;
			bitmap_set(r->given, p);
			if (b->runs[i].kind == PAGE_ZERO) {
				memset(r->copy + p * 4096, 0, 4096);
			} else {
				memcpy(r->copy + p * 4096, data, 4096);
				data += 4096;
			}
		}
	}
	if (data != b->pages + (size_t)b->ndata * 4096 || b->nhashed != b->ndata)
		f->bad++;
	for (uint32_t i = 0; i < b->ndata; i++)
		if (b->hashes[i] != XXH3_64bits(b->pages + (size_t)i * 4096, 4096))
			f->bad++;
	return 0;
}

static int sink_round_end(void *arg, uint32_t round, struct fail *why)
{
	struct fake *f = arg;

	(void)round; (void)why;
	if (atomic_load(&f->flushing))
		atomic_fetch_add(&f->ends_flushing, 1);
	usleep(2000);      /* the sink is slow: the guest dirties meanwhile */
	return 0;
}

static struct precopy_sink sink_of(struct fake *f)
{
	return (struct precopy_sink){ .pages = sink_pages, .round_end = sink_round_end, .arg = f };
}

/* Pages of the copy that are not what memory was at the pause; pages that existed and were never
 * given. */
static unsigned fake_differs(const struct fake *f)
{
	unsigned n = 0;

	for (int i = 0; i < REGIONS; i++)
		for (uint64_t p = 0; p < f->r[i].npages; p++)
			n += memcmp(f->r[i].copy + p * 4096, f->r[i].golden + p * 4096,
				    4096) != 0 ||
			     bitmap_test(f->r[i].known, p) != bitmap_test(f->r[i].given, p);
	return n;
}

/* One whole save; returns pages lost, and *f and *rep for more questions. */
static unsigned fake_save(struct fake *f, unsigned seed, const struct precopy_options *o,
			  struct precopy_report *rep)
{
	struct lease       *l = fake_open(f, seed);
	struct precopy_sink sink = sink_of(f);
	struct precopy     *p = NULL;
	struct fail         why = { 0 };
	struct uuid         epoch = { .b = { 1 } };
	uint8_t            *state = NULL;
	size_t              len = 0;
	unsigned            lost = UINT32_MAX;

	if (precopy_open(&p, l, o, &sink, &why) || precopy_rounds(p, &why) ||
	    precopy_pause(p, &epoch, &state, &len, &why))
		goto out;
	if (len != 6 || memcmp(state, "state", 6))
		goto out;
	if (!o->pause_by_sink && !o->pause_renew && lease_resume(l, &why))
		goto out;
	if (precopy_drain(p, &why))
		goto out;
	*rep = *precopy_report(p);
	lost = fake_differs(f);
out:
	if (lost == UINT32_MAX)
		printf("# %s\n", why.what);
	free(state);
	precopy_close(p);
	fake_close(f, l);
	return lost;
}

/* REGIONS, LOG_START a region, rounds of clears and a sync, a flush of the disks behind the last of
 * them and nothing but syncs after it, then pause, state, sync, and no clear after it. */
static bool order_right(const char *log)
{
	const char *s = log, *pause = strchr(log, 'P'), *flush = strrchr(log, 'F');

	if (strncmp(s, "gss", 3) || !pause || !flush || flush > pause)
		return false;
	s += 3 + strspn(s + 3, "cyF");
	flush += 1 + strspn(flush + 1, "y");
	return s == pause && flush == pause && (!strcmp(s, "PSyR") || !strcmp(s, "PSy"));
}

static unsigned count(const char *log, char verb)
{
	unsigned n = 0;

	for (; *log; log++)
		n += *log == verb;
	return n;
}

static struct fake fakes[24];

static void loses(struct fake *f, unsigned seed, unsigned after, bool silently, enum fail_kind kind,
		  const char *claim)
{
	struct precopy_options o = { .max_downtime_ns = 0, .max_rounds = 1000,
				     .pause_buffer = 1 << 20, .pause_deadline_ms = 1000 };
	struct lease          *l;
	struct precopy        *p = NULL;
	struct fail            why = { 0 };

	f->lose_after = after;
	f->lose_silently = silently;
	f->writing = true;
	l = fake_open(f, seed);
	struct precopy_sink sink = sink_of(f);

	bool good = precopy_open(&p, l, &o, &sink, &why) == 0 && precopy_rounds(p, &why) == -1 &&
		    why.kind == kind &&
		    strstr(why.what, "lease lost: ") && lease_resume(l, &why) == -1 &&
		    why.kind == kind;

	printf("# %s\n", why.what);
	ok(good, claim);
	precopy_close(p);
	fake_close(f, l);
}

/* Renewed at each look: a deadline of 0 is always due. */
static void renews(struct fake *f, unsigned seed, bool by_sink, const char *claim)
{
	struct precopy_options o = { .max_rounds = 0, .pause_buffer = 64 << 20,
				     .pause_by_sink = by_sink, .pause_renew = true };
	struct precopy_report  rep = { 0 };

	f->writing = true;
	unsigned lost = fake_save(f, seed, &o, &rep);
	size_t   batches = (size_t)(rep.pages_paused / BATCH_PAGES);

	printf("# %s\n", f->log);
	ok(lost == 0 && count(f->log, 'N') > (by_sink ? 1 : 2) * batches &&
	   strstr(f->log, "PSyN") && !strchr(f->log, 'R'), claim);
}

static void loses_renewing(struct fake *f, unsigned seed, const char *claim)
{
	struct precopy_options o = { .max_rounds = 1, .pause_buffer = 64 << 20,
				     .pause_deadline_ms = 600000, .pause_renew = true };
	struct lease          *l;
	struct precopy        *p = NULL;
	struct fail            why = { 0 };
	struct uuid            epoch = { .b = { 1 } };
	uint8_t               *state = NULL;
	size_t                 len = 0;

	f->lose_renewing = true;
	l = fake_open(f, seed);
	struct precopy_sink sink = sink_of(f);

	bool good = precopy_open(&p, l, &o, &sink, &why) == 0 && precopy_rounds(p, &why) == 0 &&
		    precopy_pause(p, &epoch, &state, &len, &why) == -1 && !state &&
		    strstr(why.what, "lease lost: ");

	printf("# %s\n", why.what);
	ok(good, claim);
	precopy_close(p);
	fake_close(f, l);
}

int main(int argc, char **argv)
{
	unsigned               seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0)
				      : (unsigned)io_now_ns();
	struct precopy_options o = { .max_downtime_ns = 50000000, .max_rounds = 30,
				     .pause_buffer = 64 << 20, .pause_deadline_ms = 10000 };
	struct precopy_report  rep = { 0 };
	struct fake           *f = fakes;

	setvbuf(stdout, NULL, _IOLBF, 0);
	note("seed %u", seed);

	f->writing = false;
	ok(fake_save(f, seed, &o, &rep) == 0 && rep.converged && rep.nrounds == 1 && !f->bad,
	   "a guest that writes nothing needs one round");
	ok(order_right(f->log), "verbs come in the only safe order");
	f++;

	f->writing = true;
	f->pace_us = 200;
	ok(fake_save(f, seed + 1, &o, &rep) == 0 && rep.converged && !f->bad,
	   "no page is lost under random writes");
	ok(f->paused_pages == 0 && rep.pages_paused > 0,
	   "the sink is given nothing while the guest is paused");
	f++;

	f->writing = true;
	o.max_downtime_ns = 0;
	o.max_rounds = 7;
	ok(fake_save(f, seed + 2, &o, &rep) == 0 && !rep.converged && rep.nrounds == 7 && !f->bad,
	   "a guest that writes too fast is paused when the rounds run out, and says so");
	f++;

	f->writing = true;
	o.pause_buffer = 1;
	o.max_rounds = 2;
	ok(fake_save(f, seed + 3, &o, &rep) == 0 && f->paused_pages > 0 && !f->bad,
	   "what the pause buffer can't hold goes to the sink, paused");
	f++;

	f->writing = true;
	o.pause_buffer = 0;
	ok(fake_save(f, seed + 4, &o, &rep) == 0 && f->paused_pages == rep.pages_paused && !f->bad,
	   "without a pause buffer all of the rest goes to the sink");
	f++;

	f->writing = true;
	o.pause_buffer = 64 << 20;
	o.pause_by_sink = true;
	ok(fake_save(f, seed + 5, &o, &rep) == 0 && f->paused_pages == rep.pages_paused &&
	   order_right(f->log) && !f->bad,
	   "a move's rest travels while paused");
	o.pause_by_sink = false;
	f++;

	f->writing = true;
	o.max_rounds = 0;
	ok(fake_save(f, seed + 6, &o, &rep) == 0 && rep.nrounds == 0 &&
	   rep.pages_paused == rep.pages_total && !f->bad,
	   "with no rounds at all everything is copied paused");
	f++;

	/* What vmrun tells of disks and of the pause itself counts, whatever the memory does: no
	 * time is measured here. */
	o = (struct precopy_options){ .max_downtime_ns = 50000000,
				      .max_rounds = 4,
				      .pause_buffer = 64 << 20,
				      .pause_deadline_ms = 10000 };
	f->fixed_ns = 60000000;
	ok(fake_save(f, seed + 7, &o, &rep) == 0 && !rep.converged && rep.nrounds == 4 &&
		   order_right(f->log),
	   "a pause that takes longer than it may by itself is not converged");
	f++;
	f->flush_ns = 525000000;
	ok(fake_save(f, seed + 8, &o, &rep) == 0 && !rep.converged && rep.nrounds == 4 &&
		   order_right(f->log),
	   "nor is one with disks that take longer to flush, however often");
	f++;
	f->flush_ns     = 80000000;
	f->flush_halves = true;
	o.max_downtime_ns = 10000000000;
	ok(fake_save(f, seed + 9, &o, &rep) == 0 && rep.converged && count(f->log, 'F') == 1 &&
		   order_right(f->log),
	   "a flush that is short enough is one");
	f++;
	f->flush_ns     = 80000000000;
	f->flush_halves = true;
	ok(fake_save(f, seed + 10, &o, &rep) == 0 && rep.converged && count(f->log, 'F') == 7 &&
		   order_right(f->log),
	   "what was written during a long flush is flushed before the pause too");
	f++;
	f->flush_fails = FAIL_VERSION;
	ok(fake_save(f, seed + 11, &o, &rep) == 0 && rep.converged && count(f->log, 'F') == 1,
	   "a vmrun that knows no flush is saved from all the same");
	f++;
	f->flush_fails = FAIL_SYSTEM;
	ok(fake_save(f, seed + 12, &o, &rep) == UINT32_MAX && !strchr(f->log, 'P'),
	   "a flush that fails ends the save before the pause");
	f++;

	o.silence_ns = 1;
	f->flush_slow = true;
	ok(fake_save(f, seed + 13, &o, &rep) == 0 && rep.converged && f->ends_flushing &&
		   order_right(f->log),
	   "while a flush takes long the peer is kept from taking us for dead");
	o.silence_ns = 0;
	f++;

	loses(f++, seed, 20, false, FAIL_ENDED,
	      "a VM that ends in a round ends the copy with its reason");
	loses(f++, seed, 20, true, FAIL_PEER,
	      "a channel that closes without a word is a lost lease");
	renews(f++, seed, false,
	       "a pause to be renewed is renewed while the rest is copied and while it is drained");
	renews(f++, seed, true, "and while the rest goes to the sink");
	loses_renewing(f++, seed,
		       "a lease that is lost during the paused copy fails the pause, however far "
		       "its deadline");
	unsigned lost = 0;

	o = (struct precopy_options){ .max_downtime_ns = 2000000, .max_rounds = 5,
				      .pause_buffer = 8 << 20, .pause_deadline_ms = 10000 };
	for (unsigned i = 0; i < 10; i++) {
		struct fake *one = calloc(1, sizeof(*one));

		one->writing = true;
		one->pace_us = i * 20;
		lost += fake_save(one, seed + 100 + i, &o, &rep) + one->bad;
		free(one);
	}
	ok(lost == 0, "ten saves at ten paces lose no page");
	return done_testing();
}
