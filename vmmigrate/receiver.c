/* SPDX-License-Identifier: MIT */
#include "vmmigrate/receiver.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/page_apply.h"
#include "libcommon/page_sink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct receiver_region {
	const struct lease_ram *ram;
	struct page_sink        sink;
	uint64_t                audited;      /* the first page that AUDIT may still name */
};

/* Pages are where they were received until they are in memory. Writing them takes most of the time,
 * as it allocates them: so it is done by a thread (`apply`), which has up to RECEIVER_DEPTH slots,
 * while the next chunk is received into the remaining one and verified. Few: what is received
 * should still be in the cache when it is written. */
#define RECEIVER_DEPTH 4u
#define RECEIVER_SLOTS (RECEIVER_DEPTH + 1)

struct receiver_slot {
	struct wire_buffer payload;
	struct page_batch *batch;      /* its pages are in payload, or were expanded into it */
};

struct receiver {
	struct receiver_region regions[MESSAGE_REGIONS];
	uint32_t               nregions;
	struct page_codec     *codec;
	struct receiver_slot   slots[RECEIVER_SLOTS];
	unsigned               next;             /* slot to receive into: never the thread's */
	struct page_apply     *apply;
	uint8_t               *audit;            /* pages of ours */
	uint64_t               chunks, data_pages;
	uint64_t               owed[RECEIVER_RESENDS];    /* damaged, and not yet sent again */
	uint32_t               nowed, resends;
	/* audit */
	uint64_t               audited, differ;
	uint32_t               nlist;
	struct message_page    list[MESSAGE_LIST];
};

static struct receiver_region *receiver_region(struct receiver *r, uint64_t id)
{
	for (uint32_t i = 0; i < r->nregions; i++)
		if (r->regions[i].ram->r.id == id)
			return &r->regions[i];
	return NULL;
}

/* By the thread. Regions do not change after receiver_open(); their sinks are the thread's until
 * receiver_applied(). */
static int receiver_apply(void *arg, const struct page_batch *b, struct fail *why)
{
	return page_sink_batch(&receiver_region(arg, b->region)->sink, b, why);
}

static int receiver_buffers(struct receiver *r, struct fail *why)
{
	r->audit = malloc(BATCH_PAGES * PAGE_SIZE_4K);
	for (unsigned i = 0; i < RECEIVER_SLOTS; i++) {
		r->slots[i].batch = aligned_alloc(4096, sizeof(*r->slots[i].batch));
		if (!r->audit || !r->slots[i].batch)
			return fail_sys(why, "receiver's buffers");
	}
	return page_codec_open(&r->codec, why);
}

int receiver_open(struct receiver **out, struct lease *l, struct fail *why)
{
	struct receiver *r = calloc(1, sizeof(*r));

	if (!r)
		return fail_sys(why, "receiver");
	if (receiver_buffers(r, why))
		goto fail;
	for (uint32_t i = 0; i < l->nrams; i++) {
		struct receiver_region *g = &r->regions[r->nregions++];

		g->ram = &l->rams[i];
		if (g->ram->r.page_size != PAGE_SIZE_4K || g->ram->r.backing) {
			fail_set(why, FAIL_LIMIT, "region %s: unsupported page size or backing",
				 g->ram->r.name);
			goto fail;
		}
		if (page_sink_open(&g->sink, g->ram->fd, g->ram->npages, g->ram->r.name, why))
			goto fail;
	}
	if (page_apply_open(&r->apply, RECEIVER_DEPTH, receiver_apply, r, why))
		goto fail;
	*out = r;
	return 0;
fail:
	receiver_close(r);
	return -1;
}

void receiver_close(struct receiver *r)
{
	if (!r)
		return;
	page_apply_close(r->apply);      /* before what it reads from and writes to */
	for (uint32_t i = 0; i < r->nregions; i++)
		page_sink_close(&r->regions[i].sink);
	page_codec_close(r->codec);
	for (unsigned i = 0; i < RECEIVER_SLOTS; i++) {
		wire_buffer_free(&r->slots[i].payload);
		free(r->slots[i].batch);
	}
	free(r->audit);
	free(r);
}

struct wire_buffer *receiver_buffer(struct receiver *r)
{
	return &r->slots[r->next].payload;
}

int receiver_applied(struct receiver *r, struct fail *why)
{
	return page_apply_finish(r->apply, why);
}

int receiver_pages(struct receiver *r, const struct chunk *c, const uint8_t *payload, bool damaged,
		   bool *resend, uint64_t *number, struct fail *why)
{
	struct receiver_region *g   = receiver_region(r, c->region);
	struct page_batch      *b   = r->slots[r->next].batch;
	bool                    bad = false;

	*number = r->chunks++;
	*resend = false;
	if (!g)
		return fail_set(why, FAIL_PEER, "pages of region %u, not in the configuration",
				c->region);
	if (!damaged && page_chunk_decode(r->codec, c, payload, FAIL_NOWHERE, g->ram->npages,
					  b, &bad, why)) {
		/* Data that differ from their hashes are damage; anything else is not a page
		 * chunk. */
		if (!bad) {
			why->kind = FAIL_PEER;
			return -1;
		}
		damaged = true;
	}
	if (damaged) {
		if (r->resends == RECEIVER_RESENDS)
			return fail_set(why, FAIL_PEER, "too many damaged chunks: more than %u",
					r->resends);
		r->owed[r->nowed++] = *number;
		r->resends++;
		*resend = true;
		return 0;
	}
	if (page_apply_submit(r->apply, b, why))
		return -1;
	r->next = (r->next + 1) % RECEIVER_SLOTS;
	r->data_pages += b->ndata;
	fault_point("vmmigrate.target.page");
	return 0;
}

int receiver_resent(struct receiver *r, uint64_t number, struct fail *why)
{
	for (uint32_t i = 0; i < r->nowed; i++) {
		if (r->owed[i] != number)
			continue;
		r->owed[i] = r->owed[--r->nowed];
		return 0;
	}
	return fail_set(why, FAIL_PEER, "unexpected RESENT for chunk %" PRIu64 ", not requested",
			number);
}

int receiver_round(struct receiver *r, uint64_t chunk, struct fail *why)
{
	if (chunk == r->chunks)
		return 0;
	return fail_set(why, FAIL_PEER,
			"page chunks missing: %" PRIu64 " sent by the source, %" PRIu64 " received",
			chunk, r->chunks);
}

bool receiver_clean(const struct receiver *r)
{
	return r->nowed == 0;
}

uint64_t receiver_data_pages(const struct receiver *r)
{
	return r->data_pages;
}

static void receiver_differs(struct receiver *r, uint64_t region, uint64_t page)
{
	r->differ++;
	if (r->nlist < MESSAGE_LIST)
		r->list[r->nlist++] = (struct message_page){ .region = region, .page = page };
}

/* Up to BATCH_PAGES pages of our memory into r->audit. */
static int receiver_audit_read(struct receiver *r, const struct receiver_region *g, uint64_t first,
			       uint64_t n, struct fail *why)
{
	return io_pread(g->ram->fd, r->audit, (size_t)n * PAGE_SIZE_4K, first * PAGE_SIZE_4K,
			g->ram->r.name, why);
}

/* Pages that are zero at the source: only those that were ever written here are read. */
static int receiver_audit_zero(struct receiver *r, struct receiver_region *g,
			       const struct message *m, struct fail *why)
{
	uint64_t end = m->first + m->pages, from = m->first, at, n;

	while (pageset_next(&g->sink.written, from, end, &at, &n)) {
		for (from = at + n; at < from; at += n) {
			n = from - at < BATCH_PAGES ? from - at : BATCH_PAGES;
			if (receiver_audit_read(r, g, at, n, why))
				return -1;
			for (uint64_t i = 0; i < n; i++)
				if (!page_is_zero(r->audit + i * PAGE_SIZE_4K, PAGE_SIZE_4K))
					receiver_differs(r, m->region, at + i);
		}
	}
	return 0;
}

int receiver_audit(struct receiver *r, const struct message *m, struct fail *why)
{
	struct receiver_region *g = receiver_region(r, m->region);

	if (receiver_applied(r, why))
		return -1;
	if (!g || m->first > g->ram->npages || m->pages > g->ram->npages - m->first)
		return fail_set(why, FAIL_PEER, "AUDIT: page numbers out of range");
	/* Each page once: a message of a few bytes could otherwise make this host read all memory,
	 * any number of times. */
	if (m->first < g->audited)
		return fail_set(why, FAIL_PEER,
				"AUDIT: region %s: page %" PRIu64 " not in ascending order",
				g->ram->r.name, m->first);
	g->audited = m->first + m->pages;
	r->audited += m->pages;
	if (m->zero)
		return receiver_audit_zero(r, g, m, why);
	for (uint64_t done = 0; done < m->pages;) {
		uint64_t n = m->pages - done < BATCH_PAGES ? m->pages - done : BATCH_PAGES;

		if (receiver_audit_read(r, g, m->first + done, n, why))
			return -1;
		for (uint64_t i = 0; i < n; i++)
			if (page_hash(r->audit + i * PAGE_SIZE_4K) != m->hashes[done + i])
				receiver_differs(r, m->region, m->first + done + i);
		done += n;
	}
	return 0;
}

void receiver_audited(const struct receiver *r, struct message *m)
{
	m->type   = MSG_AUDITED;
	m->pages  = r->audited;
	m->differ = r->differ;
	m->nlist  = r->nlist;
	memcpy(m->list, r->list, sizeof(m->list));
}
