/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct page_codec {
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
	uint64_t   hashes[BATCH_PAGES];      /* when the caller does not want them */
};

int page_codec_open(struct page_codec **out, struct fail *why)
{
	struct page_codec *c = calloc(1, sizeof(*c));

	if (c) {
		c->cctx = ZSTD_createCCtx();
		c->dctx = ZSTD_createDCtx();
	}
	if (!c || !c->cctx || !c->dctx) {
		page_codec_close(c);
		return fail_set(why, FAIL_SYSTEM, "zstd: out of memory");
	}
	*out = c;
	return 0;
}

void page_codec_close(struct page_codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->cctx);
	ZSTD_freeDCtx(c->dctx);
	free(c);
}

size_t page_chunk_capacity(void)
{
	return CHUNK_HEADER_BYTES + PAGE_CHUNK_TABLES + LIMIT_DATA_BYTES;
}

/* A batch comes from our own code, but a wrong one in a file would be found years later. */
static int batch_check(const struct page_batch *b, struct fail *why)
{
	uint64_t next = 0, ndata = 0;

	if (b->nruns == 0 || b->nruns > BATCH_RUNS || b->ndata > BATCH_PAGES)
		return fail_set(why, FAIL_USAGE,
				"invalid batch: %" PRIu32 " runs, %" PRIu32 " data pages", b->nruns,
				b->ndata);
	for (uint32_t i = 0; i < b->nruns; i++) {
		const struct page_run *r = &b->runs[i];

		if (r->first < next || r->count == 0 || r->first > UINT64_MAX - r->count)
			return fail_set(why, FAIL_USAGE,
					"invalid batch: runs not in ascending order");
		if (r->kind != PAGE_DATA && r->kind != PAGE_ZERO)
			return fail_set(why, FAIL_USAGE, "invalid batch: page kind %" PRIu32,
					r->kind);
		next = r->first + r->count;
		ndata += r->kind == PAGE_DATA ? r->count : 0;
	}
	if (ndata != b->ndata)
		return fail_set(why, FAIL_USAGE,
				"invalid batch: runs list %" PRIu64 " data pages, got %" PRIu32,
				ndata, b->ndata);
	return 0;
}

/* The data as one zstd frame, 0 when raw is no larger; -1 fails. */
static int data_compress(struct page_codec *c, int level, uint8_t *out, const uint8_t *data,
			 size_t len, size_t *got, struct fail *why)
{
	size_t n;

	if (level > 19 || level < ZSTD_minCLevel())
		return fail_set(why, FAIL_USAGE,
				"compression level out of range: %d (valid: %d to 19)", level,
				ZSTD_minCLevel());
	ZSTD_CCtx_reset(c->cctx, ZSTD_reset_session_only);
	ZSTD_CCtx_setParameter(c->cctx, ZSTD_c_compressionLevel, level);
	n = ZSTD_compress2(c->cctx, out, len - 1, data, len);
	*got = 0;
	if (!ZSTD_isError(n))
		*got = n;
	else if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
		return fail_set(why, FAIL_SYSTEM, "zstd: %s", ZSTD_getErrorName(n));
	return 0;
}

int page_chunk_encode(struct page_codec *c, const struct page_batch *b, int level, uint8_t *out,
		      size_t *len, uint64_t *hashes, struct fail *why)
{
	uint8_t *payload = out + CHUNK_HEADER_BYTES;
	uint8_t *p = payload + PAGE_CHUNK_HEAD;
	size_t   raw = (size_t)b->ndata * PAGE_SIZE_4K, packed = 0;

	if (batch_check(b, why))
		return -1;
	for (uint32_t i = 0; i < b->nruns; i++, p += PAGE_CHUNK_RUN_BYTES) {
		put_le64(p, b->runs[i].first);
		put_le32(p + 8, b->runs[i].count);
		put_le32(p + 12, b->runs[i].kind);
	}
	for (uint32_t i = 0; i < b->ndata; i++, p += 8) {
		uint64_t h = XXH3_64bits(b->data + (size_t)i * PAGE_SIZE_4K, PAGE_SIZE_4K);

		put_le64(p, h);
		if (hashes)
			hashes[i] = h;
	}
	if (level && raw && data_compress(c, level, p, b->data, raw, &packed, why))
		return -1;
	if (!packed)
		memcpy(p, b->data, raw);

	size_t stored = packed ? packed : raw;

	put_le32(payload, b->nruns);
	put_le32(payload + 4, b->ndata);
	put_le32(payload + 8, (uint32_t)stored);
	put_le32(payload + 12, 0);
	put_le64(payload + 16,
		 XXH3_64bits(payload + PAGE_CHUNK_HEAD, (size_t)(p - payload) - PAGE_CHUNK_HEAD));

	size_t plen = (size_t)(p - payload) + stored;

	chunk_header_put(out, CHUNK_PAGES, chunk_type_flags(CHUNK_PAGES), packed ? 1 : 0, b->region,
			 payload, (uint32_t)plen);
	*len = CHUNK_HEADER_BYTES + plen;
	return 0;
}

int page_chunk_tables(const struct chunk *h, const uint8_t *payload, uint32_t have, uint64_t at,
		      uint64_t npages, struct page_chunk_head *head, struct page_batch *b,
		      uint64_t *hashes, struct fail *why)
{
	const uint8_t *p = payload + PAGE_CHUNK_HEAD;
	uint64_t       next = 0, ndata = 0;

	if (h->len < PAGE_CHUNK_HEAD || have < PAGE_CHUNK_HEAD)
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: truncated header");
	head->nruns    = get_le32(payload);
	head->ndata    = get_le32(payload + 4);
	head->data_len = get_le32(payload + 8);
	if (get_le32(payload + 12))
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: reserved bytes not zero");
	if (head->nruns == 0 || head->nruns > BATCH_RUNS)
		return fail_at(why, FAIL_LIMIT, at,
			       "pages chunk: number of runs out of range: %" PRIu32
			       " (valid: 1 to %u)", head->nruns, BATCH_RUNS);
	if (head->ndata > BATCH_PAGES)
		return fail_at(why, FAIL_LIMIT, at,
			       "pages chunk: %" PRIu32 " data pages exceed the limit of %u",
			       head->ndata, BATCH_PAGES);
	head->tables = PAGE_CHUNK_HEAD + head->nruns * PAGE_CHUNK_RUN_BYTES + head->ndata * 8;
	if (head->tables > h->len || head->data_len != h->len - head->tables || head->tables > have)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: table and data sizes do not match the payload length");
	if (!hash_same(get_le64(payload + 16), XXH3_64bits(p, head->tables - PAGE_CHUNK_HEAD)))
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: table checksum mismatch");
	for (uint32_t i = 0; i < head->nruns; i++, p += PAGE_CHUNK_RUN_BYTES) {
		struct page_run r = { .first = get_le64(p), .count = get_le32(p + 8),
				      .kind = get_le32(p + 12) };

		if (r.kind == PAGE_PARENT)
			return fail_at(why, FAIL_VERSION, at,
				       "pages chunk: pages of a parent snapshot not supported by"
				       " this build");
		if (r.kind != PAGE_DATA && r.kind != PAGE_ZERO)
			return fail_at(why, FAIL_CORRUPT, at,
				       "pages chunk: invalid page kind %" PRIu32, r.kind);
		if (r.first < next || r.count == 0)
			return fail_at(why, FAIL_CORRUPT, at,
				       "pages chunk: runs not in ascending order");
		if (r.first > npages || r.count > npages - r.first)
			return fail_at(why, FAIL_CORRUPT, at,
				       "pages chunk: pages %" PRIu64 "+%" PRIu32
				       " out of range of region %" PRIu32 " (%" PRIu64 " pages)",
				       r.first, r.count, h->region, npages);
		next = r.first + r.count;
		ndata += r.kind == PAGE_DATA ? r.count : 0;
		b->runs[i] = r;
	}
	if (h->encoding == 0 ? head->data_len != head->ndata * PAGE_SIZE_4K
			     : head->data_len >= head->ndata * PAGE_SIZE_4K)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: invalid data length: %" PRIu32
				       " bytes of %s data for %" PRIu32 " pages",
			       head->data_len, h->encoding ? "compressed" : "raw", head->ndata);
	if (ndata != head->ndata)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: runs list %" PRIu64
			       " data pages, header says %" PRIu32, ndata, head->ndata);
	for (uint32_t i = 0; hashes && i < head->ndata; i++)
		hashes[i] = get_le64(p + (size_t)i * 8);
	b->region = h->region;
	b->nruns  = head->nruns;
	b->ndata  = head->ndata;
	return 0;
}

/* docs/format.md, 4: one frame of RFC 8878 that says its size and needs no dictionary, and nothing
 * else. libzstd by itself reads frames of versions before 0.8 as well where it was built to, skips
 * skippable ones, and goes on to a second one. */
static bool frame_is_ours(const uint8_t *in, size_t len, size_t raw)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

	return len > 5 && memcmp(in, magic, sizeof(magic)) == 0 && (in[4] & 3) == 0 &&
	       ZSTD_getFrameContentSize(in, len) == raw &&
	       ZSTD_findFrameCompressedSize(in, len) == len;
}

/* The data, of the right length (page_chunk_tables), as pages. */
static int data_expand(struct page_codec *c, const struct chunk *h,
		       const struct page_chunk_head *head, const uint8_t *in, uint64_t at,
		       uint8_t *out, struct fail *why)
{
	size_t raw = (size_t)head->ndata * PAGE_SIZE_4K;

	if (h->encoding == 0) {
		memcpy(out, in, raw);
		return 0;
	}
	if (!frame_is_ours(in, head->data_len, raw))
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: data is not a single zstd frame of %" PRIu32 " pages",
			       head->ndata);

	size_t n = ZSTD_decompressDCtx(c->dctx, out, raw, in, head->data_len);

	if (ZSTD_isError(n))
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: zstd: %s",
			       ZSTD_getErrorName(n));
	if (n != raw)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: zstd frame decompressed to %zu bytes for %" PRIu32
			       " pages", n, head->ndata);
	return 0;
}

uint64_t page_batch_data_page(const struct page_batch *b, uint32_t slot)
{
	for (uint32_t i = 0; i < b->nruns; i++) {
		if (b->runs[i].kind != PAGE_DATA)
			continue;
		if (slot < b->runs[i].count)
			return b->runs[i].first + slot;
		slot -= b->runs[i].count;
	}
	return UINT64_MAX;
}

int page_chunk_decode_hashes(struct page_codec *c, const struct chunk *h, const uint8_t *payload,
			     uint64_t at, uint64_t npages, struct page_batch *b, uint64_t *hashes,
			     uint64_t *bad_page, struct fail *why)
{
	struct page_chunk_head head;

	if (bad_page)
		*bad_page = UINT64_MAX;
	if (page_chunk_tables(h, payload, h->len, at, npages, &head, b, hashes, why))
		return -1;
	if (data_expand(c, h, &head, payload + head.tables, at, b->data, why))
		return -1;
	for (uint32_t i = 0; i < b->ndata; i++) {
		if (hash_same(hashes[i],
			      XXH3_64bits(b->data + (size_t)i * PAGE_SIZE_4K, PAGE_SIZE_4K)))
			continue;
		if (bad_page)
			*bad_page = page_batch_data_page(b, i);
		return fail_at(why, FAIL_CORRUPT, at,
			       "region %" PRIu32 ": page %" PRIu64 ": checksum mismatch", h->region,
			       page_batch_data_page(b, i));
	}
	return 0;
}

int page_chunk_decode(struct page_codec *c, const struct chunk *h, const uint8_t *payload,
		      uint64_t at, uint64_t npages, struct page_batch *b, uint64_t *bad_page,
		      struct fail *why)
{
	return page_chunk_decode_hashes(c, h, payload, at, npages, b, c->hashes, bad_page, why);
}
