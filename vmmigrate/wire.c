/* SPDX-License-Identifier: MIT */
#include "vmmigrate/wire.h"

#include "format/snapshot/chunk_info.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const uint8_t wire_magic[8] = { 0x89, 'V', 'M', 'M', '\r', '\n', 0x1a, '\n' };

int wire_open(struct wire **out, int fd, const char *peer, struct fail *why)
{
	struct wire *w = calloc(1, sizeof(*w));
	int          one = 1;

	if (!w) {
		fail_sys(why, "%s", peer);
		close(fd);
		return -1;
	}
	/* GO and its reply are part of the downtime. Fails on the socketpair of a unit test. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	w->fd = fd;
	for (size_t i = 0; i < sizeof(w->watch) / sizeof(w->watch[0]); i++)
		w->watch[i].fd = -1;
	snprintf(w->peer, sizeof(w->peer), "%s", peer);
	*out = w;
	return 0;
}

void wire_buffer_free(struct wire_buffer *b)
{
	free(b->bytes);
	*b = (struct wire_buffer){ 0 };
}

static int wire_buffer_grow(struct wire_buffer *b, size_t len)
{
	if (b->bytes && len <= b->capacity)
		return 0;
	wire_buffer_free(b);
	b->bytes    = malloc(len ? len : 1);
	b->capacity = b->bytes ? len : 0;
	return b->bytes ? 0 : -1;
}

void wire_close(struct wire *w)
{
	if (!w)
		return;
	io_close(&w->fd);
	wire_buffer_free(&w->own);
	free(w);
}

/* Until the socket is ready for events, the deadline has passed, or a watch fails. Watches come
 * first: a signal must end a move even when the peer never stops sending. */
static int wire_wait(struct wire *w, short events, uint64_t deadline_ns, struct fail *why)
{
	if (w->until_ns && w->until_ns < deadline_ns)
		deadline_ns = w->until_ns;
	for (;;) {
		struct pollfd p[3] = {
			{ .fd = w->fd, .events = events },
			{ .fd = w->watch[0].fd, .events = POLLIN },
			{ .fd = w->watch[1].fd, .events = POLLIN },
		};
		uint64_t      now  = io_now_ns();

		if (now >= deadline_ns)
			return fail_set(why, FAIL_PEER, "%s: timed out", w->peer);
		int n = poll(p, 3, (int)((deadline_ns - now) / 1000000) + 1);

		if (n < 0 && errno != EINTR)
			return fail_sys(why, "%s: poll", w->peer);
		for (int i = 0; n > 0 && i < 2; i++)
			if (p[i + 1].revents && w->watch[i].fn(w->watch[i].arg, why))
				return -1;
		if (n > 0 && p[0].revents)
			return 0;
	}
}

static int wire_lost(const struct wire *w, const char *what, int sys, struct fail *why)
{
	fail_set(why, FAIL_PEER, "%s: %s", w->peer, what);
	why->sys = sys;
	return -1;
}

/* All of v, which is used up. */
static int wire_put_vector(struct wire *w, struct iovec *v, int n, uint64_t deadline_ns,
			   struct fail *why)
{
	while (n) {
		struct msghdr m    = { .msg_iov = v, .msg_iovlen = (size_t)n };
		ssize_t       done = sendmsg(w->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno != EAGAIN)
			return wire_lost(w, "connection lost", errno, why);
		if (done < 0) {
			if (wire_wait(w, POLLOUT, deadline_ns, why))
				return -1;
			continue;
		}
		w->sent += (uint64_t)done;
		n = io_vector_skip(&v, n, (size_t)done);
	}
	return 0;
}

static int wire_put(struct wire *w, const void *p, size_t len, uint64_t deadline_ns,
		    struct fail *why)
{
	struct iovec v = { (void *)(uintptr_t)p, len };

	return wire_put_vector(w, &v, 1, deadline_ns, why);
}

static int wire_get(struct wire *w, uint8_t *p, size_t len, uint64_t deadline_ns, struct fail *why)
{
	while (len) {
		ssize_t n = recv(w->fd, p, len, MSG_DONTWAIT);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
			w->received += (uint64_t)n;
			continue;
		}
		if (n == 0)
			return wire_lost(w, "connection closed by peer", 0, why);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return wire_lost(w, "connection lost", errno, why);
		if (wire_wait(w, POLLIN, deadline_ns, why))
			return -1;
	}
	return 0;
}

void wire_preamble_put(uint8_t out[WIRE_PREAMBLE_BYTES])
{
	memcpy(out, wire_magic, sizeof(wire_magic));
	put_le16(out + 8, WIRE_VERSION);
	put_le16(out + 10, WIRE_OLDEST);
	put_le32(out + 12, 0);
}

int wire_preamble_get(const uint8_t in[WIRE_PREAMBLE_BYTES], int *version, bool *magic,
		      struct fail *why)
{
	int newest = get_le16(in + 8), oldest = get_le16(in + 10);

	*magic = !memcmp(in, wire_magic, sizeof(wire_magic));
	if (!*magic)
		return fail_set(why, FAIL_PEER, "bad magic: not a vmmigrate peer");
	if (oldest > newest)
		return fail_set(why, FAIL_PEER, "invalid preamble");
	*version = newest < WIRE_VERSION ? newest : WIRE_VERSION;
	if (*version < oldest || newest < WIRE_OLDEST)
		return fail_set(why, FAIL_PEER,
				"unsupported protocol versions %d to %d (supported: %d to %d)",
				oldest, newest, WIRE_OLDEST, WIRE_VERSION);
	if (get_le32(in + 12) & 0xffff)
		return fail_set(why, FAIL_PEER, "unsupported preamble flags 0x%x",
				get_le32(in + 12));
	return 0;
}

int wire_greet(struct wire *w, bool connected, struct fail *why)
{
	uint8_t  ours[WIRE_PREAMBLE_BYTES], theirs[WIRE_PREAMBLE_BYTES];
	uint64_t deadline = io_now_ns() + WIRE_GREET_NS;
	int      version;
	bool     magic;
	struct fail ignored;

	wire_preamble_put(ours);
	if (connected && wire_put(w, ours, sizeof(ours), deadline, why))
		return -1;
	if (wire_get(w, theirs, sizeof(theirs), deadline, why))
		return -1;
	int rc = wire_preamble_get(theirs, &version, &magic, why);

	if (rc)
		fail_prefix(why, "%s: ", w->peer);
	/* A peer of another version learns from our preamble which ones are supported here. */
	if (!connected && magic &&
	    wire_put(w, ours, sizeof(ours), deadline, rc ? &ignored : why))
		return -1;
	return rc;
}

int wire_connect(struct wire **out, const struct address *a, bool insecure, struct fail *why)
{
	char name[ADDRESS_TEXT_MAX];
	int  fd;

	*out = NULL;
	address_text(a, name);
	if (address_connect(a, insecure, io_now_ns() + WIRE_CONNECT_NS, &fd, why) ||
	    wire_open(out, fd, name, why))
		return -1;
	if (wire_greet(*out, true, why) == 0)
		return 0;
	wire_close(*out);
	*out = NULL;
	return -1;
}

#define WIRE_PACE_NS 100000000      /* 100 ms */

/* Waits until the cap allows the next chunk, in pieces short enough for signals and an exit of
 * vmrun to be noticed. */
static int wire_pace(struct wire *w, size_t len, struct fail *why)
{
	uint64_t now = io_now_ns();

	if (w->free_ns < now)
		w->free_ns = now;
	while ((now = io_now_ns()) < w->free_ns) {
		uint64_t        left = w->free_ns - now;
		struct timespec t    = { .tv_nsec = left < WIRE_PACE_NS ? (long)left :
					 WIRE_PACE_NS };

		nanosleep(&t, NULL);
		for (int i = 0; i < 2; i++) {
			struct pollfd p = { .fd = w->watch[i].fd, .events = POLLIN };

			if (poll(&p, 1, 0) > 0 && w->watch[i].fn(w->watch[i].arg, why))
				return -1;
		}
	}
	w->free_ns += (uint64_t)((double)len / (double)w->rate * 1e9);
	return 0;
}

int wire_send_pages(struct wire *w, const struct page_chunk *p, bool paced, struct fail *why)
{
	struct iovec v[] = { { (void *)(uintptr_t)p->head, p->head_len },
			     { (void *)(uintptr_t)p->data, p->data_len } };

	if (paced && w->rate && wire_pace(w, p->head_len + p->data_len, why))
		return -1;
	w->sequence++;
	return wire_put_vector(w, v, 2, io_now_ns() + WIRE_SEND_NS, why);
}

int wire_send(struct wire *w, uint16_t type, const void *payload, size_t len, bool paced,
	      struct fail *why)
{
	static const uint8_t zeroes[8];
	uint8_t              header[CHUNK_HEADER_BYTES];

	if (len > LIMIT_CHUNK_BYTES)
		return fail_set(why, FAIL_LIMIT, "%s: chunk of %zu bytes exceeds the limit",
				w->peer, len);
	struct chunk c   = chunk_of(type, w->sequence++, len);
	struct iovec v[] = { { header, sizeof(header) },
			     { (void *)(uintptr_t)payload, len },
			     { (void *)(uintptr_t)zeroes, chunk_padding(c.len) } };

	chunk_header_put(header, &c, payload);
	if (paced && w->rate && wire_pace(w, sizeof(header) + len, why))
		return -1;
	return wire_put_vector(w, v, 3, io_now_ns() + WIRE_SEND_NS, why);
}

int wire_send_message(struct wire *w, const struct message *m, struct fail *why)
{
	char  *text;
	size_t len;

	if (message_write(m, &text, &len, why))
		return -1;
	int rc = wire_send(w, CHUNK_CONTROL, text, len, false, why);

	free(text);
	return rc;
}

int wire_send_abort(struct wire *w, const char *reason, struct fail *why)
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m)
		return fail_sys(why, "%s", w->peer);
	m->type = MSG_ABORT;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	int rc = wire_send_message(w, m, why);

	free(m);
	return rc;
}

/* Invalid input is the peer's fault, whatever kind the decoder gave; the offset in the stream is
 * of no use to a user. */
static int wire_invalid(const struct wire *w, struct fail *why)
{
	why->kind = FAIL_PEER;
	fail_locate(why, FAIL_NOWHERE);
	return fail_prefix(why, "%s: ", w->peer);
}

int wire_recv(struct wire *w, struct chunk *c, const uint8_t **payload, bool *damaged,
	      uint64_t timeout_ns, struct fail *why)
{
	uint64_t            deadline = io_now_ns() + timeout_ns;
	struct wire_buffer *into     = w->into ? w->into : &w->own;
	uint8_t             header[CHUNK_HEADER_BYTES];

	do {
		if (wire_get(w, header, sizeof(header), deadline, why))
			return -1;
		if (chunk_header_get(c, header, FAIL_NOWHERE, why))
			return wire_invalid(w, why);
		if (!chunk_type_moves(c->type) && (c->flags & CHUNK_REQUIRED)) {
			fail_set(why, FAIL_PEER, "unexpected chunk: type %u (%s)", c->type,
				 chunk_type_name(c->type));
			return wire_invalid(w, why);
		}
		if (chunk_fields_check(c, FAIL_NOWHERE, why))
			return wire_invalid(w, why);
		/* A lost or repeated chunk would have to be a fault of the peer. */
		if (c->sequence != w->expected++) {
			fail_set(why, FAIL_PEER, "chunk number %" PRIu64 ", expected %" PRIu64,
				 c->sequence, w->expected - 1);
			return wire_invalid(w, why);
		}
		/* c->len was checked: at most LIMIT_CHUNK_BYTES. An empty payload needs a
		 * pointer too. */
		size_t len = c->len + chunk_padding(c->len);

		if (wire_buffer_grow(into, len))
			return fail_sys(why, "%s: chunk", w->peer);
		if (wire_get(w, into->bytes, len, deadline, why))
			return -1;
	} while (!chunk_type_moves(c->type));

	*payload = into->bytes;
	*damaged = chunk_payload_check(c, into->bytes, FAIL_NOWHERE, why) ||
		   chunk_padding_check(c, into->bytes + c->len, FAIL_NOWHERE, why);
	return *damaged && c->type != CHUNK_PAGES ? wire_invalid(w, why) : 0;
}

int wire_recv_message(struct wire *w, struct message *m, uint64_t timeout_ns, struct fail *why)
{
	struct chunk   c;
	const uint8_t *payload;
	bool           damaged;

	if (wire_recv(w, &c, &payload, &damaged, timeout_ns, why))
		return -1;
	if (c.type != CHUNK_CONTROL)
		fail_set(why, FAIL_PEER, "expected a message, got a %s chunk",
			 chunk_type_name(c.type));
	else if (message_read(m, payload, c.len, why) == 0)
		return 0;
	return wire_invalid(w, why);
}

void wire_phase(struct wire *w, uint64_t ns)
{
	w->until_ns = ns ? io_now_ns() + ns : 0;
}

void wire_drain(struct wire *w)
{
	uint64_t until = io_now_ns() + WIRE_DRAIN_NS;
	char     discard[65536];

	if (shutdown(w->fd, SHUT_WR))
		return;
	for (;;) {
		struct pollfd p   = { .fd = w->fd, .events = POLLIN };
		uint64_t      now = io_now_ns();

		if (now >= until)
			return;
		if (poll(&p, 1, (int)((until - now) / 1000000) + 1) < 0 && errno != EINTR)
			return;
		ssize_t n = recv(w->fd, discard, sizeof(discard), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

bool wire_pending(const struct wire *w)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}
