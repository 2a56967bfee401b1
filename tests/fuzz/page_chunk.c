/* SPDX-License-Identifier: MIT */
/* Any bytes as the payload of a page chunk, the first one its encoding, the next four how much of
 * it is hashed: refused with a reason, or survives a round trip. */
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"

#include <assert.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define NPAGES 4096u
#define HEAD   5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct page_codec *codec;
	static struct page_batch *b, *again;
	static struct page_chunk *out;
	static uint8_t           *whole;
	struct page_chunk_form    form = { .align = true, .at = 4096 };
	struct chunk              c    = { .type = CHUNK_PAGES, .region = 5 };
	struct fail               why  = { 0 };
	bool                      damaged;

	if (!codec) {
		b     = aligned_alloc(alignof(struct page_batch), sizeof(*b));
		again = aligned_alloc(alignof(struct page_batch), sizeof(*again));
		out   = malloc(sizeof(*out));
		whole = malloc(PAGE_CHUNK_MAX);
		if (!b || !again || !out || !whole || page_codec_open(&codec, &why))
			abort();
	}
	if (len < HEAD || len - HEAD > LIMIT_CHUNK_BYTES)
		return 0;
	c.encoding = data[0] & 1;
	c.len      = (uint32_t)(len - HEAD);
	c.hashed   = get_le32(data + 1);
	if (c.hashed > c.len)
		return 0;
	if (page_chunk_decode(codec, &c, data + HEAD, 77, NPAGES, b, &damaged, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0] && why.at == 77);
		assert(!damaged || why.kind == FAIL_CORRUPT);
		return 0;
	}
	assert(!damaged && b->nhashed == b->ndata);
	for (uint32_t i = 0; i < b->nruns; i++)
		assert(b->runs[i].first < NPAGES && b->runs[i].count <= NPAGES - b->runs[i].first);
	form.level = data[0] >> 1 & 1;
	assert(page_chunk_encode(codec, b, &form, out, &why) == 0 &&
	       out->head_len + out->data_len <= PAGE_CHUNK_MAX);
	memcpy(whole, out->head, out->head_len);
	memcpy(whole + out->head_len, out->data, out->data_len);
	assert(chunk_header_get(&c, whole, 0, &why) == 0 &&
	       chunk_bytes(&c) == out->head_len + out->data_len &&
	       chunk_payload_check(&c, whole + CHUNK_HEADER_BYTES, 0, &why) == 0 &&
	       chunk_padding_check(&c, whole + CHUNK_HEADER_BYTES + c.len, 0, &why) == 0);
	assert(page_chunk_decode(codec, &c, whole + CHUNK_HEADER_BYTES, 0, NPAGES, again, NULL,
				 &why) == 0);
	assert(again->nruns == b->nruns && again->ndata == b->ndata &&
	       memcmp(again->runs, b->runs, b->nruns * sizeof(*b->runs)) == 0 &&
	       memcmp(again->hashes, b->hashes, b->ndata * sizeof(*b->hashes)) == 0 &&
	       memcmp(again->pages, b->pages, (size_t)b->ndata * PAGE_SIZE_4K) == 0);
	return 0;
}
