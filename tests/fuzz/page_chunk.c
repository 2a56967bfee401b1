/* SPDX-License-Identifier: MIT */
/* Any bytes as the payload of a page chunk, the first one its encoding: refused with a reason, or
 * survives a round trip. */
#include "format/snapshot/snapshot.h"

#include <assert.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define NPAGES 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct page_codec *codec;
	static struct page_batch *b, *again;
	static uint8_t           *out;
	struct chunk              c = { .type = CHUNK_PAGES, .region = 5 };
	struct fail               why = { 0 };
	uint64_t                  bad;
	size_t                    n;

	if (!codec) {
		b     = aligned_alloc(alignof(struct page_batch), sizeof(*b));
		again = aligned_alloc(alignof(struct page_batch), sizeof(*again));
		out   = malloc(page_chunk_capacity());
		if (!b || !again || !out || page_codec_open(&codec, &why))
			abort();
	}
	if (len == 0 || len - 1 > LIMIT_CHUNK_BYTES)
		return 0;
	c.encoding = data[0] & 1;
	c.len      = (uint32_t)len - 1;
	if (page_chunk_decode(codec, &c, data + 1, 77, NPAGES, b, &bad, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0] && why.at == 77);
		return 0;
	}
	for (uint32_t i = 0; i < b->nruns; i++)
		assert(b->runs[i].first < NPAGES && b->runs[i].count <= NPAGES - b->runs[i].first);
	assert(page_chunk_encode(codec, b, data[0] >> 1 & 1, out, &n, NULL, &why) == 0 &&
	       n <= page_chunk_capacity());
	assert(chunk_header_get(&c, out, 0, &why) == 0 &&
	       chunk_payload_check(&c, out + CHUNK_HEADER_BYTES, 0, &why) == 0);
	assert(page_chunk_decode(codec, &c, out + CHUNK_HEADER_BYTES, 0, NPAGES, again, NULL,
				 &why) == 0);
	assert(again->nruns == b->nruns && again->ndata == b->ndata &&
	       memcmp(again->runs, b->runs, b->nruns * sizeof(*b->runs)) == 0 &&
	       memcmp(again->data, b->data, (size_t)b->ndata * PAGE_SIZE_4K) == 0);
	return 0;
}
