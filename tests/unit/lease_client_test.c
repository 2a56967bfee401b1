/* SPDX-License-Identifier: MIT */
/* The lease's client against a scripted peer: what it accepts, what it refuses, and what it says
 * when the lease is gone. */
#include "tests/unit/tap.h"

#include "libcommon/io.h"
#include "libcommon/client/lease.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum script {
	GOOD, LOST_AT_ONCE, LOST_AFTER_RESET, SILENT_END, WRONG_SERIAL, WRONG_VERB, SHORT_MESSAGE,
	REFUSES, REFUSES_ODDLY,
	SHORT_BITMAP, HUGE_TREE, SHORT_TREE, NO_FD, EXTRA_FD, MANY_REGIONS, BAD_REGION,
	SAME_REGIONS, REFUSES_A_CLEAR
};

struct peer {
	int         fd;
	enum script script;
	unsigned    clears;
	pthread_t   thread;
};

/* A claim about a call that gave *why. */
static void check(bool good, const char *claim, const struct fail *why)
{
	ok(good, claim);
	if (!good)
		note("kind %d: %s", (int)why->kind, why->what);
}

static int sized(size_t len)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)len))
		abort();
	return fd;
}

static void answer(struct peer *p, const struct lease_msg *m, size_t len, const int *fds,
		   size_t nfds)
{
	struct fail why;

	io_packet_send(p->fd, m, len, fds, nfds, "peer", &why);
}

static void regions(struct peer *p, struct lease_msg *m)
{
	struct lease_region r = { .size = 100 * 4096, .page_size = 4096, .name = "ram" };
	int                 fd = sized(100 * 4096);

	m->a[0] = p->script == MANY_REGIONS ? 17 : p->script == SAME_REGIONS ? 2 : 1;
	answer(p, m, sizeof(*m), NULL, 0);
	if (p->script == BAD_REGION)
		r.size = UINT64_MAX - 4095;
	memset(r.name, 'x', sizeof(r.name));       /* not terminated: the client's business */
	m->region = r;
	for (uint64_t i = 0; i < m->a[0] && i < 2; i++)
		answer(p, m, sizeof(*m), &fd, 1);
	close(fd);
}

static void others(struct peer *p, struct lease_msg *m)
{
	int    fds[3], want = m->verb == LEASE_LOG_START ? 2 : m->verb == LEASE_STATE ? 1 : 0;
	size_t len = sizeof(*m);

	for (int i = 0; i < 3; i++)
		fds[i] = sized(p->script == SHORT_BITMAP || p->script == SHORT_TREE ? 8 : 16);
	m->a[0] = p->script == HUGE_TREE ? (4u << 20) + 1 : 16;
	switch (p->script) {
	case REFUSES:
		m->status = LEASE_REFUSED;
		m->kind = FAIL_OWNER;
		strcpy(m->text, "released to another host");
		want = 0;
		break;
	case REFUSES_ODDLY:
		m->status = LEASE_FAILED;
		m->kind = 4711;
		memset(m->text, 'y', sizeof(m->text));
		want = 0;
		break;
	case REFUSES_A_CLEAR:
		m->status = m->verb == LEASE_CLEAR && p->clears == 3 ? LEASE_REFUSED : LEASE_OK;
		break;
	case WRONG_SERIAL:  m->serial++; break;
	case WRONG_VERB:    m->verb = LEASE_RESUME; break;
	case SHORT_MESSAGE: len--; break;
	case NO_FD:         want = 0; break;
	case EXTRA_FD:      want++; break;
	default:            break;
	}
	answer(p, m, len, fds, (size_t)want);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void *peer_run(void *arg)
{
	struct peer     *p = arg;
	struct lease_msg m;
	struct fail      why;
	size_t           got;

	while (io_packet_recv(p->fd, &m, sizeof(m), &got, NULL, NULL, 0, "peer", &why) == 0 &&
	       got == sizeof(m)) {
		if (m.verb == LEASE_REGIONS) {
			regions(p, &m);
			if (p->script != LOST_AFTER_RESET)
				continue;
			m = (struct lease_msg){ .verb = LEASE_LOST, .kind = FAIL_PEER,
						.text = "its deadline has passed" };
			answer(p, &m, sizeof(m), NULL, 0);
			/* A request that is never read makes the close a reset: the words must be
			 * heard all the same. */
			while (recv(p->fd, &m, 1, MSG_PEEK) < 0)
				;
			break;
		}
		if (p->script == SILENT_END)
			break;
		if (p->script == LOST_AT_ONCE)
			m = (struct lease_msg){ .verb = LEASE_LOST, .kind = FAIL_ENDED,
						.text = "guest-shutdown" };
		if (m.verb == LEASE_CLEAR)
			p->clears++;
		if (p->script == LOST_AT_ONCE)
			answer(p, &m, sizeof(m), NULL, 0);
		else
			others(p, &m);
	}
	close(p->fd);
	return NULL;
}

static struct lease *start(struct peer *p, enum script script, struct fail *why)
{
	struct lease *l = NULL;
	int           pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
	*p = (struct peer){ .fd = pair[1], .script = script };
	pthread_create(&p->thread, NULL, peer_run, p);
	*why = (struct fail){ 0 };
	return lease_adopt(&l, pair[0], "vm", why) ? NULL : l;
}

static void stop(struct peer *p, struct lease *l)
{
	lease_close(l);
	pthread_join(p->thread, NULL);
}

/* A call under a script: its kind of failure and a word of its message. The next call says the
 * same when the lease is lost. */
static void call(enum script script, enum lease_verb verb, enum fail_kind kind, const char *word,
		 bool lost, const char *claim)
{
	struct peer   p;
	struct fail   why, again = { 0 };
	struct lease *l = start(&p, script, &why);
	uint8_t      *tree = NULL;
	size_t        len;
	int           rc = -2;

	if (l)
		rc = verb == LEASE_LOG_START ? lease_log_start(l, &why)
		     : verb == LEASE_STATE ? lease_state(l, &tree, &len, &why)
		   : lease_sync(l, NULL, NULL, &why);
	bool good = rc == (kind == FAIL_NONE ? 0 : -1) && why.kind == kind &&
		    strstr(why.what, word);

	if (l && lost)
		good = good && lease_finish(l, true, &again) == -1 && again.kind == kind &&
		       strstr(again.what, "lease lost");
	check(good, claim, &why);
	free(tree);
	stop(&p, l);
}

static void refused(enum script script, enum fail_kind kind, const char *claim)
{
	struct peer   p;
	struct fail   why;
	struct lease *l = start(&p, script, &why);

	check(!l && why.kind == kind, claim, &why);
	stop(&p, l);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void clears(void)
{
	static struct lease_range r[1000];
	struct peer   p;
	struct fail   why;
	struct lease *l = start(&p, GOOD, &why);

	for (unsigned i = 0; i < 1000; i++)
		r[i] = (struct lease_range){ .first = i, .count = 1 };
	check(l && lease_clear_ranges(l, 0, r, 1000, &why) == 0 && p.clears == 1000 &&
	      lease_sync(l, NULL, NULL, &why) == 0,
	   "a thousand clears are each answered, and the next call gets its own answer", &why);
	stop(&p, l);
	l = start(&p, REFUSES_A_CLEAR, &why);
	check(l && lease_clear_ranges(l, 0, r, 1000, &why) == -1 && why.kind == FAIL_PEER &&
	      lease_sync(l, NULL, NULL, &why) == -1,
	   "a refused clear among many ends the lease: no answer is taken for another's", &why);
	stop(&p, l);
}

static void kinds(void)
{
	enum lease_kind k    = LEASE_KINDS;
	bool            good = true;

	for (int i = 0; i < LEASE_KINDS; i++)
		good = good && lease_kinds[i].name && lease_kinds[i].title &&
		       lease_kind_parse(&k, lease_kinds[i].name) && (int)k == i;
	ok(good && !lease_kind_parse(&k, "write") && !lease_kind_parse(&k, ""),
	   "each kind of lease is found by its name, and no other");
}

int main(void)
{
	unsigned before = open_fds();

	kinds();
	call(GOOD, LEASE_SYNC, FAIL_NONE, "", false, "a good peer is believed");
	call(GOOD, LEASE_LOG_START, FAIL_NONE, "", false, "bitmaps of the right size are mapped");
	call(GOOD, LEASE_STATE, FAIL_NONE, "", false, "a tree is read from its descriptor");
	call(LOST_AT_ONCE, LEASE_SYNC, FAIL_ENDED, "guest-shutdown", true,
	     "the reason of a lost lease is kept for every later call");
	call(LOST_AFTER_RESET, LEASE_SYNC, FAIL_PEER, "deadline has passed", true,
	     "last words are heard behind a reset channel");
	call(SILENT_END, LEASE_SYNC, FAIL_PEER, "closed by vmrun", true,
	     "the end of the channel is a lost lease");
	call(WRONG_SERIAL, LEASE_SYNC, FAIL_PEER, "unexpected reply", true,
	     "an answer to another request ends the lease");
	call(WRONG_VERB, LEASE_SYNC, FAIL_PEER, "unexpected reply", true,
	     "an answer to another verb ends the lease");
	call(SHORT_MESSAGE, LEASE_SYNC, FAIL_PEER, "incompatible", true,
	     "a message of another size ends the lease");
	call(REFUSES, LEASE_SYNC, FAIL_OWNER, "released to another host", false,
	     "the kind of a refusal survives the channel");
	call(REFUSES_ODDLY, LEASE_SYNC, FAIL_PEER, "yyyy", false,
	     "a refusal of no known kind is the peer's");
	call(SHORT_BITMAP, LEASE_LOG_START, FAIL_PEER, "too short", false,
	     "a bitmap shorter than its region is not mapped");
	call(HUGE_TREE, LEASE_STATE, FAIL_LIMIT, "VM tree size: 4194305 bytes", false,
	     "a tree above the limit is not allocated");
	call(SHORT_TREE, LEASE_STATE, FAIL_CORRUPT, "unexpected end of file", false,
	     "a tree shorter than said is refused");
	call(NO_FD, LEASE_STATE, FAIL_PEER, "unexpected reply", true,
	     "an answer without its descriptor ends the lease");
	call(EXTRA_FD, LEASE_LOG_START, FAIL_PEER, "truncated message", true,
	     "an answer with a descriptor too many ends the lease");
	refused(MANY_REGIONS, FAIL_LIMIT, "more regions than there is room for are refused");
	refused(BAD_REGION, FAIL_PEER, "a region whose size does not make sense is refused");
	refused(SAME_REGIONS, FAIL_PEER, "two regions with one id are refused");
	clears();
	ok(open_fds() == before, "nothing of all this leaves a descriptor open");
	return done_testing();
}
