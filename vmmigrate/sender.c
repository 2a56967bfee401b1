/* SPDX-License-Identifier: MIT */
#include "vmmigrate/sender.h"

#include "format/snapshot/encoder.h"
#include "libcommon/array.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/populated.h"
#include "vmmigrate/receiver.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sender_chunk {                     /* the pages of one chunk */
	uint32_t            region, nruns;
	struct lease_range *runs;
};

struct sender {
	struct wire         *wire;
	struct lease        *lease;
	struct encoder      *encoder;
	struct page_codec   *codec;       /* for what is sent again */
	bool                 paced, damaged, stained;
	struct page_chunk   *chunk;       /* encoded */
	uint64_t             sent, acked; /* chunks; log[i] is chunk acked + i */
	struct sender_chunk *log;
	size_t               nlog, capacity;
	struct page_batch   *again;
	struct message      *m;
	uint64_t             resends;
};

static int sender_emit(void *arg, struct page_codec *codec, struct page_batch *b,
		       struct fail *why);

int sender_open(struct sender **out, struct wire *w, struct lease *l, int level, unsigned threads,
		struct fail *why)
{
	struct sender *s = calloc(1, sizeof(*s));

	if (!s)
		return fail_sys(why, "sender");
	s->wire  = w;
	s->lease = l;
	s->paced = true;
	s->chunk = malloc(sizeof(*s->chunk));
	s->again = aligned_alloc(4096, sizeof(*s->again));
	s->m     = malloc(sizeof(*s->m));
	if (!s->chunk || !s->again || !s->m)
		fail_sys(why, "sender buffers");
	else if (page_codec_open(&s->codec, why) == 0 &&
		 encoder_open(&s->encoder, level, threads, sender_emit, s, why) == 0) {
		*out = s;
		return 0;
	}
	sender_close(s);
	return -1;
}

static void sender_forget(struct sender *s)
{
	for (size_t i = 0; i < s->nlog; i++)
		free(s->log[i].runs);
	s->nlog  = 0;
	s->acked = s->sent;
}

void sender_close(struct sender *s)
{
	if (!s)
		return;
	sender_forget(s);
	encoder_close(s->encoder);
	page_codec_close(s->codec);
	free(s->log);
	free(s->chunk);
	free(s->again);
	free(s->m);
	free(s);
}

void sender_unpace(struct sender *s)
{
	s->paced = false;
	encoder_urgent(s->encoder);
}

uint64_t sender_resends(const struct sender *s)
{
	return s->resends;
}

static int sender_log(struct sender *s, const struct page_batch *b, struct fail *why)
{
	struct sender_chunk *c;

	if (s->nlog == s->capacity) {
		struct sender_chunk *more = array_grow(s->log, &s->capacity, sizeof(*more));

		if (!more)
			return fail_sys(why, "sender log");
		s->log = more;
	}
	c  = &s->log[s->nlog];
	*c = (struct sender_chunk){
		.region = b->region, .runs = calloc(b->nruns, sizeof(*c->runs)),
	};
	if (!c->runs)
		return fail_sys(why, "sender log");
	for (uint32_t i = 0; i < b->nruns; i++) {
		struct lease_range *last = c->nruns ? &c->runs[c->nruns - 1] : NULL;

		if (last && last->first + last->count == b->runs[i].first)
			last->count += b->runs[i].count;
		else
			c->runs[c->nruns++] = (struct lease_range){
				.first = b->runs[i].first, .count = b->runs[i].count,
			};
	}
	s->nlog++;
	return 0;
}

/* A batch is packed, and it is its turn. */
static int sender_emit(void *arg, struct page_codec *codec, struct page_batch *b, struct fail *why)
{
	struct sender               *s = arg;
	const struct page_chunk_form f = { .sequence = s->wire->sequence };

	page_chunk_build(codec, b, &f, s->chunk);
	if (sender_log(s, b, why))
		return -1;
	if (!s->damaged && fault_hit("vmmigrate.source.damage")) {
		s->damaged = true;
		s->chunk->head[s->chunk->head_len - 1] ^= 0x10;
	}
	if (!s->stained && b->ndata && fault_hit("vmmigrate.source.stain")) {
		s->stained = true;
		b->data[0] ^= 0x10;      /* a page that no longer has its hash */
	}
	s->sent++;
	return wire_send_pages(s->wire, s->chunk, s->paced, why);
}

/* Outside the order of the encoder: what it has must have been flushed. */
static int sender_put(struct sender *s, struct page_batch *b, struct fail *why)
{
	if (page_chunk_pack(s->codec, b, encoder_level(s->encoder), why))
		return -1;
	return sender_emit(s, s->codec, b, why);
}

/* One page of the lease's memory, as it is now, to the end of the batch. */
static int sender_reread(const struct lease_ram *ram, uint64_t page, struct page_batch *b,
			 struct fail *why)
{
	uint64_t at = page * PAGE_SIZE_4K + lease_ram_base(ram);

	if (io_pread(ram->fd, page_batch_slot(b), PAGE_SIZE_4K, at, ram->r.name, why))
		return -1;
	page_batch_add_slot(b, page);
	return 0;
}

static const struct lease_ram *sender_ram(const struct sender *s, uint64_t region)
{
	for (uint32_t i = 0; i < s->lease->nrams; i++)
		if (s->lease->rams[i].r.id == region)
			return &s->lease->rams[i];
	return NULL;
}

/* The target has dropped a chunk: sends its pages as they are now, then RESENT. Reading them
 * outside a round is safe: what the guest writes after this read is in the dirty bitmap and
 * comes in a later round; what it wrote before is in what is read. */
static int sender_resend(struct sender *s, uint64_t number, struct fail *why)
{
	struct page_batch   *b = s->again;

	if (number < s->acked || number >= s->sent || number - s->acked >= s->nlog)
		return fail_set(why, FAIL_PEER,
				"%s: unexpected RESEND for chunk %" PRIu64, s->wire->peer, number);
	/* A copy: sender_put() adds to the log, which may be reallocated. */
	struct sender_chunk     c   = s->log[number - s->acked];
	const struct lease_ram *ram = sender_ram(s, c.region);

	if (!ram)
		return fail_set(why, FAIL_PEER, "invalid region %u", c.region);
	if (++s->resends > RECEIVER_RESENDS)
		return fail_set(why, FAIL_PEER,
				"%s: too many damaged chunks: more than %u; check the link",
				s->wire->peer, RECEIVER_RESENDS);
	if (encoder_flush(s->encoder, why))
		return -1;
	page_batch_begin(b, c.region);
	for (uint32_t i = 0; i < c.nruns; i++) {
		for (uint64_t k = 0; k < c.runs[i].count; k++) {
			if (page_batch_full(b)) {
				if (sender_put(s, b, why))
					return -1;
				page_batch_begin(b, c.region);
			}
			if (sender_reread(ram, c.runs[i].first + k, b, why))
				return -1;
		}
	}
	if (b->nruns && sender_put(s, b, why))
		return -1;
	s->m->type  = MSG_RESENT;
	s->m->chunk = number;
	return wire_send_message(s->wire, s->m, why);
}

static int sender_aborted(const struct sender *s, struct fail *why)
{
	return fail_set(why, FAIL_PEER, "%s: %s", s->wire->peer, s->m->reason);
}

/* Handles one message; *acked: it was the ROUND-ACK of this barrier. round NULL: none is due. */
static int sender_hear(struct sender *s, uint64_t timeout_ns, const uint64_t *round, uint64_t chunk,
		       bool *acked, struct fail *why)
{
	*acked = false;
	if (wire_recv_message(s->wire, s->m, timeout_ns, why))
		return -1;
	if (s->m->type == MSG_RESEND)
		return sender_resend(s, s->m->chunk, why);
	if (s->m->type == MSG_ABORT)
		return sender_aborted(s, why);
	if (s->m->type == MSG_ROUND_ACK && round && s->m->round == *round && s->m->chunk == chunk) {
		*acked = true;
		return 0;
	}
	return fail_set(why, FAIL_PEER, "%s: unexpected %s", s->wire->peer,
			message_type_names[s->m->type]);
}

int sender_round_end(void *arg, uint32_t round, struct fail *why)
{
	struct sender *s = arg;
	uint64_t       number = round, chunk;
	bool           acked  = false;

	if (encoder_flush(s->encoder, why))
		return -1;
	chunk       = s->sent;
	s->m->type  = MSG_ROUND;
	s->m->round = number;
	s->m->chunk = chunk;
	if (wire_send_message(s->wire, s->m, why))
		return -1;
	wire_phase(s->wire, WIRE_ACK_NS);
	while (!acked)
		if (sender_hear(s, WIRE_ACK_NS, &number, chunk, &acked, why))
			return -1;
	wire_phase(s->wire, 0);
	sender_forget(s);
	fault_point("vmmigrate.source.round");
	return 0;
}

int sender_tick(void *arg, struct fail *why)
{
	struct sender *s = arg;
	bool           acked;

	for (int i = 0; i < 2; i++) {
		struct pollfd p = { .fd = s->wire->watch[i].fd, .events = POLLIN };

		if (poll(&p, 1, 0) > 0 && s->wire->watch[i].fn(s->wire->watch[i].arg, why))
			return -1;
	}
	while (wire_pending(s->wire))
		if (sender_hear(s, WIRE_IDLE_NS, NULL, 0, &acked, why))
			return -1;
	return 0;
}

struct page_batch *sender_batch(void *arg, struct fail *why)
{
	struct sender *s = arg;

	return encoder_batch(s->encoder, why);
}

int sender_pages(void *arg, struct page_batch *b, struct fail *why)
{
	struct sender *s = arg;

	/* A barrier within the round. Its number is of no account: the target repeats it, and the
	 * chunk number tells barriers apart. */
	if (s->nlog >= SENDER_WINDOW && sender_round_end(s, 0, why))
		return -1;
	if (encoder_submit(s->encoder, b, why))
		return -1;
	return sender_tick(s, why);
}

/* ---- the audit ---- */

/* Pages [first, first + count), at most MESSAGE_AUDIT_PAGES. */
static int sender_audit_hashes(struct sender *s, const struct lease_ram *ram, uint64_t first,
			       uint64_t count, struct fail *why)
{
	uint64_t at = first * PAGE_SIZE_4K + lease_ram_base(ram);

	for (uint64_t done = 0; done < count;) {
		uint64_t n = count - done < BATCH_PAGES ? count - done : BATCH_PAGES;

		if (io_pread(ram->fd, s->again->data, (size_t)n * PAGE_SIZE_4K,
			     at + done * PAGE_SIZE_4K, ram->r.name, why))
			return -1;
		for (uint64_t i = 0; i < n; i++)
			s->m->hashes[done + i] = page_hash(s->again->data + i * PAGE_SIZE_4K);
		done += n;
	}
	s->m->type   = MSG_AUDIT;
	s->m->region = ram->r.id;
	s->m->first  = first;
	s->m->pages  = count;
	s->m->zero   = false;
	return wire_send_message(s->wire, s->m, why);
}

static int sender_audit_zero(struct sender *s, const struct lease_ram *ram, uint64_t first,
			     uint64_t count, struct fail *why)
{
	if (count == 0)
		return 0;
	s->m->type   = MSG_AUDIT;
	s->m->region = ram->r.id;
	s->m->first  = first;
	s->m->pages  = count;
	s->m->zero   = true;
	return wire_send_message(s->wire, s->m, why);
}

/* With backing 1 by whole blocks: which of their pages have become present since the log began is
 * known to vmrun alone. */
static int sender_extent_blocks(const struct lease_ram *ram, uint64_t from, uint64_t *first,
				uint64_t *end, struct fail *why)
{
	uint64_t *blocks = calloc(populated_map_words(ram->npages), sizeof(*blocks));

	if (!blocks)
		return fail_sys(why, "%s: audit", ram->r.name);
	lease_ram_look(ram, blocks);
	if (!populated_next(blocks, ram->npages, from, first, end))
		*first = *end = ram->npages;
	free(blocks);
	return 0;
}

/* The next pages that are populated. */
static int sender_extent(const struct lease_ram *ram, uint64_t from, uint64_t *first, uint64_t *end,
			 struct fail *why)
{
	int rc;

	if (ram->r.backing)
		return sender_extent_blocks(ram, from, first, end, why);
	*first = from;
	*end   = ram->npages;
	rc = populated_extent(ram->fd, ram->npages, from, first, end, why);
	if (rc < 0)
		return fail_prefix(why, "%s: ", ram->r.name);
	if (rc == 0)
		*first = ram->npages;
	return 0;
}

static int sender_audit_region(struct sender *s, const struct lease_ram *ram, struct fail *why)
{
	uint64_t from = 0, first, end;

	while (from < ram->npages) {
		if (sender_extent(ram, from, &first, &end, why) ||
		    sender_audit_zero(s, ram, from, first - from, why))
			return -1;
		for (from = first; from < end;) {
			uint64_t n = end - from;

			if (n > MESSAGE_AUDIT_PAGES)
				n = MESSAGE_AUDIT_PAGES;
			if (sender_audit_hashes(s, ram, from, n, why))
				return -1;
			from += n;
		}
	}
	return 0;
}

int sender_audit(struct sender *s, struct fail *why)
{
	char   list[200] = "";
	size_t n = 0;

	for (uint32_t i = 0; i < s->lease->nrams; i++)
		if (sender_audit_region(s, &s->lease->rams[i], why))
			return -1;
	s->m->type = MSG_AUDIT_END;
	if (wire_send_message(s->wire, s->m, why) ||
	    wire_recv_message(s->wire, s->m, WIRE_ACK_NS, why))
		return -1;
	if (s->m->type == MSG_ABORT)
		return sender_aborted(s, why);
	if (s->m->type != MSG_AUDITED)
		return fail_set(why, FAIL_PEER, "%s: expected AUDITED, got %s", s->wire->peer,
				message_type_names[s->m->type]);
	if (s->m->differ == 0)
		return 0;
	for (uint32_t i = 0; i < s->m->nlist && n < sizeof(list) - 48; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%" PRIu64 ":%" PRIu64,
				      i ? " " : "", s->m->list[i].region, s->m->list[i].page);
	return fail_set(why, FAIL_PEER,
			"audit: %" PRIu64 " of %" PRIu64 " pages differ at the target "
			"(region:page): %s%s", s->m->differ, s->m->pages, list,
			s->m->differ > s->m->nlist ? " ..." : "");
}
