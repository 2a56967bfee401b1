/* SPDX-License-Identifier: MIT */
/* The wire of a move: messages, preamble, chunks, addresses; pages sent, damaged, requested again,
 * received and compared. */
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "tests/unit/tap.h"
#include "vmmigrate/address.h"
#include "vmmigrate/message.h"
#include "vmmigrate/receiver.h"
#include "vmmigrate/sender.h"
#include "vmmigrate/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct message a, b;
static struct fail    why;

/* ---- messages ---- */

static bool message_same(void)
{
	char  *one = NULL, *two = NULL;
	size_t n, m;
	bool   same = message_write(&a, &one, &n, &why) == 0 &&
		      message_read(&b, one, n, &why) == 0 &&
		      message_write(&b, &two, &m, &why) == 0 && n == m && !memcmp(one, two, n);

	free(one);
	free(two);
	return same;
}

static void test_messages(void)
{
	unsigned good = 0;

	for (int t = 0; t < MESSAGE_TYPES; t++) {
		memset(&a, 0, sizeof(a));
		a.type = (enum message_type)t;
		memset(a.vm.b, 0xa1, 16);
		memset(a.move.b, 0x5b, 16);
		a.has_move = true;
		snprintf(a.name, sizeof(a.name), "web");
		snprintf(a.reason, sizeof(a.reason), "a \"reason\" \xc3\xa9");
		snprintf(a.ask, sizeof(a.ask), "[::1]:4649");
		a.generation = INT64_MAX;
		a.page_size  = 4096;
		a.first      = 1;
		a.pages      = 3;
		a.hashes[0]  = 0x0123456789abcdef;
		a.hashes[2]  = UINT64_MAX;
		a.differ     = 2;
		a.nlist      = 2;
		a.list[1]    = (struct message_page){ 1, 99 };
		a.nregions   = 1;
		a.regions[0] = (struct message_region){ 0, 1 << 20, 4096 };
		a.nextents   = 1;
		a.extents[0] = (struct message_extent){ 0, 5, 6 };
		a.nfeatures  = 1;
		snprintf(a.features[0], sizeof(a.features[0]), "audit");
		a.state = ANSWER_RELEASED;
		if (message_same() && b.type == a.type)
			good++;
		else
			note("%s: %s", message_type_names[t], why.what);
	}
	ok(good == MESSAGE_TYPES, "each of the messages comes back as it was written");
	a.type = MSG_AUDIT;
	ok(message_same() && b.hashes[0] == a.hashes[0] && b.hashes[1] == 0 &&
	   b.hashes[2] == UINT64_MAX, "an audit's hashes survive");
	a.type = MSG_ABORT;
	snprintf(a.reason, sizeof(a.reason), "vmrun said \xff\xfe");
	ok(message_same() && !strcmp(b.reason, "vmrun said ??"),
	   "a reason that is not UTF-8 is sent with question marks");
}

#define NIL "00000000-0000-0000-0000-000000000000"
static const char *const hostile[] = {
	"", "null", "[]", "{", "{\"type\": 1}", "{\"type\": \"NONE\"}", "{\"type\": \"GO\"}",
	"{\"type\": \"ROUND\", \"round\": -1, \"chunk\": 0}",
	"{\"type\": \"ROUND\", \"round\": 1.5, \"chunk\": 0}",
	"{\"type\": \"ROUND\", \"round\": 18446744073709551616, \"chunk\": 0}",
	"{\"type\": \"ROUND\", \"round\": \"1\", \"chunk\": 0}",
	"{\"type\": \"ROUND\", \"round\": 1, \"round\": 2, \"chunk\": 0}",
	"{\"type\": \"ROUND\", \"round\": 1, \"chunk\": 0} x",
	"{\"type\": \"GO\", \"vm\": \"1\", \"move\": \"2\"}",
	"{\"type\": \"ABORT\", \"reason\": \"x\", \"vm\": \"" NIL "\"}",
	"{\"type\": \"ABORT\", \"reason\": \"a\\u0000b\"}",
	"{\"type\": \"AUDIT\", \"region\": 0, \"first\": 0, \"pages\": 0, \"zero\": true}",
	"{\"type\": \"AUDIT\", \"region\": 0, \"first\": 0, \"pages\": 1, \"zero\": false}",
	("{\"type\": \"AUDIT\", \"region\": 0, \"first\": 0, \"pages\": 1, \"zero\": true, "
	 "\"hashes\": \"0123456789abcdef\"}"),
	("{\"type\": \"AUDIT\", \"region\": 0, \"first\": 0, \"pages\": 2, \"zero\": false, "
	 "\"hashes\": \"0123456789abcdef\"}"),
	("{\"type\": \"AUDIT\", \"region\": 0, \"first\": 0, \"pages\": 1, \"zero\": false, "
	 "\"hashes\": \"0123456789ABCDEF\"}"),
	("{\"type\": \"QUERY\", \"vm\": \"" NIL "\", \"move\": \"" NIL "\", "
	 "\"name\": \"../x\", \"from\": \"source\"}"),
	"{\"type\": \"AUDITED\", \"pages\": 1, \"differ\": 1, \"list\": [[1]]}",
};

static void test_hostile(void)
{
	size_t good = 0, n = sizeof(hostile) / sizeof(hostile[0]);
	char  *big = malloc(2 << 20);

	for (size_t i = 0; i < n; i++) {
		if (message_read(&b, hostile[i], strlen(hostile[i]), &why) == -1 &&
		    why.kind == FAIL_PEER)
			good++;
		else
			note("accepted: %s", hostile[i]);
	}
	ok(good == n, "invalid messages are refused");
	memset(big, ' ', 2 << 20);
	memcpy(big, "{}", 2);
	ok(message_read(&b, big, 2 << 20, &why) == -1, "a message above the limit is refused");
	strcpy(big, "{\"type\": \"AUDITED\", \"pages\": 1, \"differ\": 65, \"list\": [");
	for (int i = 0; i < 65; i++)
		strcat(big, i ? ", [0, 1]" : "[0, 1]");
	strcat(big, "]}");
	ok(message_read(&b, big, strlen(big), &why) == -1, "a list above its limit is refused");
	memset(big, '[', 1 << 20);
	ok(message_read(&b, big, 1 << 20, &why) == -1, "a million brackets are refused");
	free(big);
}

/* ---- preamble, chunks ---- */

static void test_preamble(void)
{
	static const uint8_t text[16] = {
		0x89, 'V', 'M', 'M', '\r', '\n', 0x1a, '\n', 1, 0, 1, 0, 0, 0, 0, 0,
	};
	uint8_t              p[16];
	int                  version;
	bool                 magic;

	wire_preamble_put(p);
	ok(!memcmp(p, text, 16), "the preamble is the 16 bytes of docs/protocol.md");
	ok(wire_preamble_get(p, &version, &magic, &why) == 0 && version == 1 && magic,
	   "our own preamble is accepted");
	put_le16(p + 8, 7);
	ok(wire_preamble_get(p, &version, &magic, &why) == 0 && version == 1,
	   "a later version that supports ours is accepted, and ours is used");
	put_le16(p + 10, 3);
	ok(wire_preamble_get(p, &version, &magic, &why) == -1 && magic,
	   "one that supports only later versions is refused");
	put_le32(p + 8, 0);
	ok(wire_preamble_get(p, &version, &magic, &why) == -1 && magic,
	   "one of the version before, whose chunks are others, is refused");
	wire_preamble_put(p);
	put_le32(p + 12, 1u << 31);
	ok(wire_preamble_get(p, &version, &magic, &why) == 0, "an optional flag is ignored");
	put_le32(p + 12, 1);
	ok(wire_preamble_get(p, &version, &magic, &why) == -1, "a required flag is refused");
	p[0] = 'G';
	ok(wire_preamble_get(p, &version, &magic, &why) == -1 && !magic,
	   "another magic is refused, and gets no reply");
}

static struct wire *left, *right;

static void pair_open(void)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
	    wire_open(&left, sv[0], "left", &why) || wire_open(&right, sv[1], "right", &why))
		exit(1);
}

static void pair_close(void)
{
	wire_close(left);
	wire_close(right);
}

static int stop_now(void *arg, struct fail *f)
{
	(void)arg;
	return fail_set(f, FAIL_ENDED, "stop");
}

/* A chunk of any kind, its number the next one; flip: a byte behind the header that is changed once
 * it has been hashed, -1 for none. */
static void put_raw(struct chunk c, const void *payload, int flip)
{
	uint8_t raw[CHUNK_HEADER_BYTES + 256] = { 0 };
	size_t  len = (size_t)chunk_bytes(&c);

	c.sequence = left->sequence++;
	chunk_header_put(raw, &c, payload);
	memcpy(raw + CHUNK_HEADER_BYTES, payload, c.len);
	if (flip >= 0)
		raw[CHUNK_HEADER_BYTES + (unsigned)flip] ^= 1;
	if (len > sizeof(raw) || io_write(left->fd, raw, len, "raw", &why))
		exit(1);
}

/* What the right side says of the next chunk: it ends the connection. */
static bool refused(const char *says)
{
	struct chunk   c;
	const uint8_t *payload;
	bool           damaged;
	bool           is = wire_recv(right, &c, &payload, &damaged, WIRE_SECOND, &why) == -1 &&
			    why.kind == FAIL_PEER && !why.has_at && strstr(why.what, says);

	if (!is)
		note("%s", why.what);
	return is;
}

static const char ready[] = "{\"type\": \"READY\"}";

static void test_chunks(void)
{
	struct chunk   c, unknown = { .type = 99, .len = 5, .hashed = 2 };
	const uint8_t *payload;
	bool           damaged;

	pair_open();
	a.type = MSG_ROUND;
	a.round = 3;
	a.chunk = 9;
	ok(wire_send_message(left, &a, &why) == 0 &&
	   wire_recv_message(right, &b, WIRE_SECOND, &why) == 0 && b.type == MSG_ROUND &&
	   b.round == 3 && b.chunk == 9, "a message crosses the wire");
	put_raw(unknown, "12345", -1);
	put_raw((struct chunk){ .type = CHUNK_PAD, .len = 5 }, "12345", -1);
	put_raw((struct chunk){ .type = 0x8000 }, "", -1);
	ok(wire_send_message(left, &a, &why) == 0 &&
	   wire_recv_message(right, &b, WIRE_SECOND, &why) == 0 && right->expected == 5,
	   "optional chunks, unknown or of snapshots, are skipped and counted");
	c        = chunk_of(CHUNK_PAGES, 0, sizeof(ready));
	c.region = 4;
	c.hashed = 8;
	put_raw(c, ready, 3);
	ok(wire_recv(right, &c, &payload, &damaged, WIRE_SECOND, &why) == 0 && damaged &&
	   c.region == 4, "a page chunk with damaged tables is reported, not fatal");
	c.hashed = 8;
	put_raw(c, ready, 9);
	ok(wire_recv(right, &c, &payload, &damaged, WIRE_SECOND, &why) == 0 && !damaged,
	   "one with damaged data is for its reader to see");
	put_raw(c, ready, (int)sizeof(ready) + 2);
	ok(wire_recv(right, &c, &payload, &damaged, WIRE_SECOND, &why) == 0 && damaged,
	   "one with damaged padding is reported");
	put_raw(chunk_of(CHUNK_CONTROL, 0, sizeof(ready) - 1), ready, 0);
	ok(refused("payload checksum"), "a damaged message ends the connection");
	pair_close();
	pair_open();
	put_raw(chunk_of(CHUNK_CONTROL, 0, sizeof(ready) - 1), ready, sizeof(ready) - 1);
	ok(refused("padding"), "so does one with damaged padding");
	pair_close();
}

/* Chunks that no peer may send. */
static void test_refused(void)
{
	static const struct {
		const char  *claim, *says;
		struct chunk c;
	} cases[] = {
		{ "a required chunk of an unknown type is refused", "unexpected chunk: type 99",
		  { .type = 99, .flags = CHUNK_REQUIRED } },
		{ "an index is refused", "unexpected chunk: type 8",
		  { .type = CHUNK_INDEX, .flags = CHUNK_REQUIRED } },
		{ "the end of a snapshot's round is refused", "unexpected chunk: type 5",
		  { .type = CHUNK_ROUND_END, .flags = CHUNK_REQUIRED } },
		{ "a message that need not be known is refused", "flags",
		  { .type = CHUNK_CONTROL } },
		{ "a message with a region is refused", "region",
		  { .type = CHUNK_CONTROL, .flags = CHUNK_REQUIRED, .region = 1 } },
		{ "a message with an encoding is refused", "encoding",
		  { .type = CHUNK_CONTROL, .flags = CHUNK_REQUIRED, .encoding = 1 } },
		{ "a message with a round is refused", "round",
		  { .type = CHUNK_CONTROL, .flags = CHUNK_REQUIRED, .round = 1 } },
		{ "a message that is hashed in part is refused", "covers",
		  { .type = CHUNK_CONTROL, .flags = CHUNK_REQUIRED, .len = 8, .hashed = 4 } },
	};
	struct chunk message = chunk_of(CHUNK_CONTROL, 0, sizeof(ready) - 1);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pair_open();
		put_raw(cases[i].c, ready, -1);
		ok(refused(cases[i].says), cases[i].claim);
		pair_close();
	}
	pair_open();
	put_raw(message, ready, -1);
	ok(wire_recv_message(right, &b, WIRE_SECOND, &why) == 0 || why.kind == FAIL_PEER,
	   "number 0 is the first");
	left->sequence = 2;
	put_raw(message, ready, -1);
	ok(refused("chunk number 2, expected 1"), "a number that is left out is refused");
	pair_close();
	pair_open();
	put_raw(message, ready, -1);
	wire_recv_message(right, &b, WIRE_SECOND, &why);
	left->sequence = 0;
	put_raw(message, ready, -1);
	ok(refused("chunk number 0, expected 1"), "a number that comes again is refused");
	pair_close();
}

static void test_ends(void)
{
	uint8_t raw[256];
	int     p[2];

	pair_open();
	ok(wire_recv_message(right, &b, 1000000, &why) == -1 && strstr(why.what, "timed out"),
	   "a silent peer is a lost connection after the deadline");
	if (pipe2(p, O_CLOEXEC) || write(p[1], "x", 1) != 1)
		exit(1);
	right->watch[0] = (struct wire_watch){ .fd = p[0], .fn = stop_now };
	ok(wire_recv_message(right, &b, 60 * WIRE_SECOND, &why) == -1 && why.kind == FAIL_ENDED,
	   "a watched descriptor ends the wait");
	right->watch[0].fd = -1;
	memset(raw, 0xff, sizeof(raw));
	ok(io_write(left->fd, raw, sizeof(raw), "raw", &why) == 0 &&
	   wire_recv_message(right, &b, WIRE_SECOND, &why) == -1 && why.kind == FAIL_PEER,
	   "garbage is refused");
	io_close(&left->fd);
	while (wire_recv_message(right, &b, WIRE_SECOND, &why) == -1 && !strstr(why.what, "closed"))
		;
	ok(strstr(why.what, "closed") != NULL, "a closed connection is seen");
	close(p[0]);
	close(p[1]);
	pair_close();
}

/* ---- addresses ---- */

static void test_addresses(void)
{
	static const struct { const char *text; bool optional; const char *host, *port; } rows[] = {
		{ "host", false, "host", "4649" },            { "host:1", false, "host", "1" },
		{ "[::1]", false, "::1", "4649" },            { "::1", false, "::1", "4649" },
		{ "10.0.0.1:65535", false, "10.0.0.1", "65535" },
		{ "[fe80::1%eth0]:7", false, "fe80::1%eth0", "7" },
		{ ":0", true, "", "0" },                      { ":4649", false, NULL, NULL },
		{ "", false, NULL, NULL },                    { "host:", false, NULL, NULL },
		{ "host:x", false, NULL, NULL },              { "host:65536", false, NULL, NULL },
		{ "host:-1", false, NULL, NULL },             { "[::1", false, NULL, NULL },
		{ "[::1]x", false, NULL, NULL },              { "a b:1", false, NULL, NULL },
		{ "host:000001", false, "host", "1" },
	};
	unsigned           good = 0, n = sizeof(rows) / sizeof(rows[0]);
	struct address     x, y;
	char               text[ADDRESS_TEXT_MAX];
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	for (unsigned i = 0; i < n; i++) {
		int  rc   = address_parse(&x, rows[i].text, rows[i].optional, &why);
		bool same = rc == 0 && rows[i].host && !strcmp(x.host, rows[i].host) &&
			    !strcmp(x.port, rows[i].port);

		if (same) {
			address_text(&x, text);
			same = address_parse(&y, text, rows[i].optional, &why) == 0 &&
			       !strcmp(x.host, y.host) && !strcmp(x.port, y.port);
		}
		if (rows[i].host ? same : rc == -1)
			good++;
		else
			note("%s", rows[i].text);
	}
	ok(good == n, "HOST[:PORT] in all its forms, and invalid ones");
	bool loop = address_is_loopback((struct sockaddr *)&in);

	in.sin_addr.s_addr = htonl(0x0a000001);
	ok(loop && !address_is_loopback((struct sockaddr *)&in),
	   "127.0.0.2 is loopback, 10.0.0.1 is not");
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &in6.sin6_addr);
	loop = address_is_loopback((struct sockaddr *)&in6);
	inet_pton(AF_INET6, "::ffff:10.0.0.1", &in6.sin6_addr);
	ok(loop && !address_is_loopback((struct sockaddr *)&in6),
	   "and so it is for IPv4-mapped IPv6 addresses");
}

/* ---- pages ---- */

#define NPAGES 2048u

static struct lease source, target;

static void lease_make(struct lease *l)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	memset(l, 0, sizeof(*l));
	if (fd < 0 || ftruncate(fd, NPAGES * 4096))
		exit(1);
	l->nrams = 1;
	l->rams[0] = (struct lease_ram){ .npages = NPAGES, .fd = fd };
	l->rams[0].r = (struct lease_region){
		.size = NPAGES * 4096, .page_size = 4096, .name = "ram",
	};
}

static void page_put(struct lease *l, uint64_t page, uint8_t value)
{
	uint8_t p[4096];

	memset(p, value, sizeof(p));
	if (pwrite(l->rams[0].fd, p, sizeof(p), (off_t)(page * 4096)) != (ssize_t)sizeof(p))
		exit(1);
}

static uint8_t page_get(const struct lease *l, uint64_t page)
{
	uint8_t p[4096];

	if (pread(l->rams[0].fd, p, sizeof(p), (off_t)(page * 4096)) != (ssize_t)sizeof(p))
		exit(1);
	return page_is_zero(p, sizeof(p)) ? 0 : p[4095];
}

static struct page_batch batch;

static void batch_make(uint64_t first, uint64_t n)
{
	page_batch_begin(&batch, 0);
	for (uint64_t i = first; i < first + n; i++) {
		if (pread(source.rams[0].fd, page_batch_slot(&batch), 4096,
			  (off_t)(i * 4096)) != 4096)
			exit(1);
		page_batch_add_slot(&batch, i);
	}
}

/* The target's side in a thread, as target_fill.c does it, but it takes chunk 1 for damaged. */
static uint64_t target_owed;

static void *target_thread(void *arg)
{
	struct receiver *r = arg;
	struct message  *m = calloc(1, sizeof(*m));
	struct fail      bad = { 0 };
	bool             due = false;
	uint64_t         round = 0, chunk = 0, received = 0;

	for (;;) {
		struct chunk   c;
		const uint8_t *payload;
		bool           damaged, resend = false;
		uint64_t       number;

		right->into = receiver_buffer(r);
		if (wire_recv(right, &c, &payload, &damaged, 5 * WIRE_SECOND, &bad))
			break;
		if (c.type == CHUNK_PAGES) {
			if (receiver_pages(r, &c, payload, damaged || received == 1,
					   &resend, &number, &bad))
				break;
			received++;
			if (resend) {
				m->type  = MSG_RESEND;
				m->chunk = number;
				target_owed++;
				wire_send_message(right, m, &bad);
			}
		} else if (message_read(m, payload, c.len, &bad)) {
			break;
		} else if (m->type == MSG_ROUND) {
			due   = receiver_round(r, m->chunk, &bad) == 0;
			round = m->round;
			chunk = m->chunk;
		} else if (m->type == MSG_RESENT) {
			if (receiver_resent(r, m->chunk, &bad))
				break;
		} else if (m->type == MSG_AUDIT) {
			receiver_audit(r, m, &bad);
		} else if (m->type == MSG_AUDIT_END) {
			receiver_audited(r, m);
			wire_send_message(right, m, &bad);
		}
		if (due && receiver_clean(r)) {
			if (receiver_applied(r, &bad))
				break;
			due      = false;
			m->type  = MSG_ROUND_ACK;
			m->round = round;
			m->chunk = chunk;
			wire_send_message(right, m, &bad);
		}
	}
	right->into = NULL;
	free(m);
	return NULL;
}

static void test_pages(void)
{
	struct receiver *r;
	struct sender   *s;
	pthread_t        thread;
	struct stat      st;
	unsigned         same = 0;

	lease_make(&source);
	lease_make(&target);
	for (uint64_t i = 0; i < 1000; i++)
		page_put(&source, i, (uint8_t)(i % 250 + 1));
	page_put(&source, 500, 0);
	page_put(&target, 1900, 7);      /* never sent: the audit must find it */
	pair_open();
	if (receiver_open(&r, &target, &why) || sender_open(&s, left, &source, 1, 2, &why) ||
	    pthread_create(&thread, NULL, target_thread, r))
		exit(1);
	batch_make(0, 400);
	ok(sender_pages(s, &batch, &why) == 0, "a batch is sent");
	batch_make(400, 200);
	/* What the guest writes after the copy was made is what is sent again. */
	page_put(&source, 450, 99);
	page_put(&source, 451, 0);
	ok(sender_pages(s, &batch, &why) == 0, "a second one, which will be damaged");
	batch_make(600, 400);
	ok(sender_pages(s, &batch, &why) == 0 && sender_round_end(s, 0, &why) == 0,
	   "the round ends once all of it is there");
	ok(target_owed == 1 && sender_resends(s) == 1, "one chunk was requested again");
	for (uint64_t i = 0; i < 1000; i++)
		same += page_get(&source, i) == page_get(&target, i);
	ok(same == 1000, "all pages are there, the damaged ones as they are now");
	ok(page_get(&target, 450) == 99 && page_get(&target, 451) == 0 &&
	   page_get(&target, 500) == 0, "written and zeroed pages too");

	for (uint64_t i = 0; i < 300; i++)
		if (fallocate(source.rams[0].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)(i * 4096), 4096))
			exit(1);
	batch_make(0, 300);
	fstat(target.rams[0].fd, &st);
	blkcnt_t before = st.st_blocks;

	ok(sender_pages(s, &batch, &why) == 0 && sender_round_end(s, 1, &why) == 0 &&
	   page_get(&target, 10) == 0, "pages that became zero are zero");
	fstat(target.rams[0].fd, &st);
	ok(st.st_blocks <= before - 300 * 8, "and cost the target no memory any more");

	page_put(&source, 999, 1);
	ok(sender_audit(s, &why) == -1 && strstr(why.what, "2 of 2048 pages differ"),
	   "an audit finds the pages that differ");
	ok(strstr(why.what, "0:1900") && strstr(why.what, "0:999"),
	   "and names them: one that the source does not have, one that is another");
	wire_close(left);
	pthread_join(thread, NULL);
	wire_close(right);
	sender_close(s);
	receiver_close(r);
}

static void test_receiver(void)
{
	static struct page_chunk p;
	static uint8_t           whole[1 << 20], *payload = whole + CHUNK_HEADER_BYTES;
	struct page_chunk_form   form = { .level = 0 };
	struct page_codec       *codec;
	struct receiver         *r;
	struct chunk             c;
	bool                     resend;
	uint64_t                 number;
	size_t                   table;
	unsigned                 asked = 0;

	if (receiver_open(&r, &target, &why) || page_codec_open(&codec, &why))
		exit(1);
	for (uint64_t i = 990; i < 998; i++)
		page_put(&source, i, (uint8_t)i);
	batch_make(990, 8);
	page_chunk_encode(codec, &batch, &form, &p, &why);
	memcpy(whole, p.head, p.head_len);
	memcpy(whole + p.head_len, p.data, p.data_len);
	chunk_header_get(&c, whole, 0, &why);
	table = p.head_len - 8 * 8;      /* the hashes, before the data */
	ok(receiver_resent(r, 0, &why) == -1, "RESENT that was not requested is refused");
	ok(receiver_round(r, 1, &why) == -1,
	   "a ROUND that counts other chunks than came is refused");
	c.region = 3;
	ok(receiver_pages(r, &c, payload, false, &resend, &number, &why) == -1,
	   "pages of an unknown region are refused");
	c.region = 0;
	ok(receiver_pages(r, &c, payload, false, &resend, &number, &why) == 0 && !resend &&
	   receiver_applied(r, &why) == 0 && page_get(&target, 990) == (uint8_t)990,
	   "pages that match their hashes are written");
	page_put(&target, 990, 5);
	whole[p.head_len + 3 * 4096] ^= 1;
	ok(receiver_pages(r, &c, payload, false, &resend, &number, &why) == 0 && resend &&
	   receiver_applied(r, &why) == 0 && page_get(&target, 990) == 5,
	   "of a chunk with damaged data nothing is");
	asked++;
	whole[p.head_len + 3 * 4096] ^= 1;
	whole[table] ^= 1;
	ok(receiver_pages(r, &c, payload, true, &resend, &number, &why) == 0 && resend,
	   "nor of one with damaged tables");
	asked++;
	whole[table] ^= 1;
	form.level = 3;
	page_chunk_encode(codec, &batch, &form, &p, &why);
	memcpy(whole, p.head, p.head_len);
	memcpy(whole + p.head_len, p.data, p.data_len);
	chunk_header_get(&c, whole, 0, &why);
	whole[p.head_len] ^= 1;
	ok(c.encoding == CHUNK_ZSTD &&
	   receiver_pages(r, &c, payload, false, &resend, &number, &why) == 0 && resend,
	   "nor of one that cannot be decompressed");
	asked++;
	put_le32(payload, 0);
	ok(receiver_pages(r, &c, payload, false, &resend, &number, &why) == -1 &&
	   why.kind == FAIL_PEER, "what is no page chunk is the peer's fault");
	while (receiver_pages(r, &c, payload, true, &resend, &number, &why) == 0)
		asked += resend;
	ok(asked == RECEIVER_RESENDS && why.kind == FAIL_PEER,
	   "after 64 damaged chunks the connection is given up");
	page_codec_close(codec);
	receiver_close(r);
}

/* Each page is read once for an audit, however often a peer asks. */
static void test_audit_order(void)
{
	static struct message m = { .type = MSG_AUDIT, .pages = 100, .zero = true };
	struct receiver      *r;

	lease_make(&target);
	page_put(&target, 50, 7);
	if (receiver_open(&r, &target, &why))
		exit(1);
	ok(receiver_audit(r, &m, &why) == 0, "an audit of the first pages");
	m.first = 99;
	ok(receiver_audit(r, &m, &why) == -1 && why.kind == FAIL_PEER &&
		   strstr(why.what, "not in ascending order"),
	   "a page again is refused");
	m.first = 100;
	ok(receiver_audit(r, &m, &why) == 0, "the pages behind it are not");
	receiver_audited(r, &m);
	ok(m.pages == 200 && m.differ == 1 && m.list[0].page == 50, "each was compared once");
	receiver_close(r);
}

int main(void)
{
	test_messages();
	test_hostile();
	test_preamble();
	test_chunks();
	test_refused();
	test_ends();
	test_addresses();
	test_pages();
	test_receiver();
	test_audit_order();
	close(source.rams[0].fd);
	close(target.rams[0].fd);
	return done_testing();
}
