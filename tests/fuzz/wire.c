/* SPDX-License-Identifier: MIT */
/* What a peer of a move may say. The first byte chooses: 'm' a message's text, else a whole
 * connection after the preamble as a target reads it: messages, page chunks into memory, the
 * audit. Any bytes are refused with a reason or understood. */
#include "vmmigrate/message.h"
#include "vmmigrate/receiver.h"
#include "vmmigrate/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define NPAGES    1024u
#define BYTES_MAX (128u << 10)      /* fits a socket's buffer: nobody need read while we write */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct message m, again;

static void fuzz_message(const uint8_t *data, size_t len)
{
	struct fail why = { 0 };
	char       *text, *twice;
	size_t      n, k;

	if (message_read(&m, data, len, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		return;
	}
	assert(message_write(&m, &text, &n, &why) == 0);
	assert(message_read(&again, text, n, &why) == 0);
	assert(message_write(&again, &twice, &k, &why) == 0);
	assert(n == k && memcmp(text, twice, n) == 0);
	free(text);
	free(twice);
}

static void fuzz_one(struct receiver *r, const struct chunk *c, const uint8_t *payload,
		     bool damaged)
{
	struct fail why = { 0 };
	uint64_t    number;
	bool        resend;

	if (c->type == CHUNK_PAGES) {
		receiver_pages(r, c, payload, damaged, &resend, &number, &why);
	} else if (c->type == CHUNK_CONTROL && message_read(&m, payload, c->len, &why) == 0) {
		if (m.type == MSG_AUDIT)
			receiver_audit(r, &m, &why);
		else if (m.type == MSG_RESENT)
			receiver_resent(r, m.chunk, &why);
		else if (m.type == MSG_ROUND)
			receiver_round(r, m.chunk, &why);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lease     l = { .nrams = 1 };
	struct receiver *r;
	struct wire     *w;
	struct fail      why = { 0 };
	struct chunk     c;
	const uint8_t   *payload;
	bool             damaged;
	int              sv[2], size = 1 << 20;

	if (len == 0 || len > BYTES_MAX)
		return 0;
	if (data[0] == 'm') {
		fuzz_message(data + 1, len - 1);
		return 0;
	}
	l.rams[0]   = (struct lease_ram){ .npages = NPAGES,
					  .fd = memfd_create("ram", MFD_CLOEXEC) };
	l.rams[0].r = (struct lease_region){ .size = NPAGES * 4096, .page_size = 4096,
					     .name = "ram" };
	if (ftruncate(l.rams[0].fd, NPAGES * 4096) || receiver_open(&r, &l, &why) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		abort();
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (send(sv[0], data + 1, len - 1, MSG_DONTWAIT) != (ssize_t)(len - 1) ||
	    wire_open(&w, sv[1], "peer", &why))
		abort();
	close(sv[0]);
	while (wire_recv(w, &c, &payload, &damaged, WIRE_SECOND, &why) == 0)
		fuzz_one(r, &c, payload, damaged);
	assert(why.kind != FAIL_NONE && why.what[0]);
	wire_close(w);
	receiver_close(r);
	close(l.rams[0].fd);
	return 0;
}
