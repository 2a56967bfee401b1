#include "vmmigrate/receiver.h"

#include "libcommon/bitmap.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

struct receiver_region {
	const struct lease_ram *ram;
	uint64_t               *written;      /* pages that may hold data */
};

struct receiver {
	struct receiver_region regions[16];
	uint32_t               nregions;
	struct page_codec     *codec;
	struct page_batch     *batch;
	uint64_t               chunks, data_pages;
	uint64_t               owed[RECEIVER_RESENDS];    /* chunks that came damaged and were not yet sent again */
	uint32_t               nowed, resends;
	/* audit */
	uint64_t               audited, differ;
	uint32_t               nlist;
	struct message_place   list[MESSAGE_LIST];
};

/* What the memory holds before anything was received: nothing, or it would have to be zeroed. */
static int receiver_seed(struct receiver_region *g, struct fail *why)
{
	off_t at = 0, end = (off_t)g->ram->r.size;

	while (at < end) {
		off_t data = lseek(g->ram->fd, at, SEEK_DATA), hole = data < 0 ? -1 : lseek(g->ram->fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			return 0;
		if (hole < 0)
			return fail_sys(why, "%s: where its data is", g->ram->r.name);
		uint64_t first = (uint64_t)data / PAGE_SIZE_4K, last = ((uint64_t)hole + PAGE_SIZE_4K - 1) / PAGE_SIZE_4K;

		bitmap_set_range(g->written, first, (last < g->ram->npages ? last : g->ram->npages) - first);
		at = hole;
	}
	return 0;
}

int receiver_open(struct receiver **out, struct lease *l, struct fail *why)
{
	struct receiver *r = calloc(1, sizeof(*r));

	if (!r)
		return fail_sys(why, "receiver");
	r->batch = aligned_alloc(4096, sizeof(*r->batch));
	if (!r->batch)
		fail_sys(why, "receiver's buffer");
	if (!r->batch || page_codec_open(&r->codec, why))
		goto fail;
	for (uint32_t i = 0; i < l->nrams; i++) {
		struct receiver_region *g = &r->regions[r->nregions++];

		g->ram = &l->rams[i];
		if (g->ram->r.page_size != PAGE_SIZE_4K || g->ram->r.backing) {
			fail_set(why, FAIL_LIMIT, "region %s can't be received into", g->ram->r.name);
			goto fail;
		}
		g->written = calloc(bitmap_words(g->ram->npages), sizeof(uint64_t));
		if (!g->written) {
			fail_sys(why, "receiver's bitmap");
			goto fail;
		}
		if (receiver_seed(g, why))
			goto fail;
	}
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
	for (uint32_t i = 0; i < r->nregions; i++)
		free(r->regions[i].written);
	page_codec_close(r->codec);
	free(r->batch);
	free(r);
}

static struct receiver_region *receiver_region(struct receiver *r, uint64_t id)
{
	for (uint32_t i = 0; i < r->nregions; i++)
		if (r->regions[i].ram->r.id == id)
			return &r->regions[i];
	return NULL;
}

/* Zero pages: where nothing was ever written nothing need be; the rest goes back to the host. */
static int receiver_zero(struct receiver_region *g, uint64_t first, uint64_t count, struct fail *why)
{
	uint64_t end = first + count, at, n;

	while (bitmap_next_run(g->written, g->ram->npages, first, &at, &n) && at < end) {
		if (n > end - at)
			n = end - at;
		if (fallocate(g->ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(at * PAGE_SIZE_4K), (off_t)(n * PAGE_SIZE_4K)))
			return fail_sys(why, "%s: zero pages %" PRIu64 "+%" PRIu64, g->ram->r.name, at, n);
		bitmap_clear_range(g->written, at, n);
		first = at + n;
	}
	return 0;
}

static int receiver_batch(struct receiver *r, struct receiver_region *g, struct fail *why)
{
	const uint8_t *data = r->batch->data;

	for (uint32_t i = 0; i < r->batch->nruns; i++) {
		const struct page_run *run = &r->batch->runs[i];
		size_t                 len = (size_t)run->count * PAGE_SIZE_4K;

		if (run->kind != PAGE_DATA) {
			if (receiver_zero(g, run->first, run->count, why))
				return -1;
			continue;
		}
		if (io_pwrite(g->ram->fd, data, len, run->first * PAGE_SIZE_4K, g->ram->r.name, why))
			return -1;
		bitmap_set_range(g->written, run->first, run->count);
		data += len;
		r->data_pages += run->count;
	}
	return 0;
}

int receiver_pages(struct receiver *r, const struct chunk *c, const uint8_t *payload, bool damaged, bool *resend, uint64_t *number,
		   struct fail *why)
{
	struct receiver_region *g   = receiver_region(r, c->region);
	uint64_t                bad = UINT64_MAX;

	*number = r->chunks++;
	*resend = false;
	if (!g)
		return fail_set(why, FAIL_PEER, "pages of region %u, which is no memory of this machine", c->region);
	if (!damaged && page_chunk_decode(r->codec, c, payload, FAIL_NOWHERE, g->ram->npages, r->batch, &bad, why)) {
		if (bad == UINT64_MAX) {
			why->kind = FAIL_PEER;
			return -1;
		}
		damaged = true;
	}
	if (damaged) {
		if (r->resends == RECEIVER_RESENDS)
			return fail_set(why, FAIL_PEER, "too much of what comes is damaged (%u chunks)", r->resends);
		r->owed[r->nowed++] = *number;
		r->resends++;
		*resend = true;
		return 0;
	}
	if (receiver_batch(r, g, why))
		return -1;
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
	return fail_set(why, FAIL_PEER, "RESENT for chunk %" PRIu64 ", which was not asked for", number);
}

int receiver_round(struct receiver *r, uint64_t chunk, struct fail *why)
{
	if (chunk == r->chunks)
		return 0;
	return fail_set(why, FAIL_PEER, "the source has sent %" PRIu64 " page chunks, %" PRIu64 " came", chunk, r->chunks);
}

bool receiver_clean(const struct receiver *r)
{
	return r->nowed == 0;
}

uint64_t receiver_chunks(const struct receiver *r)
{
	return r->chunks;
}

uint64_t receiver_data_pages(const struct receiver *r)
{
	return r->data_pages;
}

static void receiver_differs(struct receiver *r, uint64_t region, uint64_t page)
{
	r->differ++;
	if (r->nlist < MESSAGE_LIST)
		r->list[r->nlist++] = (struct message_place){ .region = region, .page = page };
}

/* Pages that the source says are zero: only those that may hold data are looked at. */
static int receiver_audit_zero(struct receiver *r, struct receiver_region *g, const struct message *m, struct fail *why)
{
	uint64_t end = m->first + m->pages, from = m->first, at, n;

	while (bitmap_next_run(g->written, g->ram->npages, from, &at, &n) && at < end) {
		if (io_pread(g->ram->fd, r->batch->data, PAGE_SIZE_4K, at * PAGE_SIZE_4K, g->ram->r.name, why))
			return -1;
		if (!page_is_zero(r->batch->data, PAGE_SIZE_4K))
			receiver_differs(r, m->region, at);
		from = at + 1;
	}
	return 0;
}

int receiver_audit(struct receiver *r, const struct message *m, struct fail *why)
{
	struct receiver_region *g = receiver_region(r, m->region);

	if (!g || m->first > g->ram->npages || m->pages > g->ram->npages - m->first)
		return fail_set(why, FAIL_PEER, "AUDIT of pages that are no memory of this machine");
	r->audited += m->pages;
	if (m->zero)
		return receiver_audit_zero(r, g, m, why);
	for (uint64_t done = 0; done < m->pages;) {
		uint64_t n = m->pages - done < BATCH_PAGES ? m->pages - done : BATCH_PAGES;

		if (io_pread(g->ram->fd, r->batch->data, (size_t)n * PAGE_SIZE_4K, (m->first + done) * PAGE_SIZE_4K, g->ram->r.name, why))
			return -1;
		for (uint64_t i = 0; i < n; i++)
			if (XXH3_64bits(r->batch->data + i * PAGE_SIZE_4K, PAGE_SIZE_4K) != m->hashes[done + i])
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
