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
	uint8_t   *packed;      /* what the last batch was compressed to; NULL: never used */
	size_t     packed_len;  /* 0: raw is no larger */
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
	free(c->packed);
	free(c);
}

size_t page_codec_packed(const struct page_codec *c)
{
	return c->packed_len;
}

void page_batch_hash(struct page_batch *b)
{
	for (; b->nhashed < b->ndata; b->nhashed++)
		b->hashes[b->nhashed] = page_hash(
			b->pages + (size_t)b->nhashed * PAGE_SIZE_4K);
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

/* The data as one zstd frame in c->packed. */
static int data_compress(struct page_codec *c, int level, const uint8_t *data, size_t len,
			 struct fail *why)
{
	size_t n;

	if (level > 19 || level < ZSTD_minCLevel())
		return fail_set(why, FAIL_USAGE,
				"compression level out of range: %d (valid: %d to 19)", level,
				ZSTD_minCLevel());
	if (!c->packed)
		c->packed = malloc(LIMIT_DATA_BYTES + 8);
	if (!c->packed)
		return fail_sys(why, "compression buffer");
	ZSTD_CCtx_reset(c->cctx, ZSTD_reset_session_only);
	ZSTD_CCtx_setParameter(c->cctx, ZSTD_c_compressionLevel, level);
	n = ZSTD_compress2(c->cctx, c->packed, len - 1, data, len);
	if (!ZSTD_isError(n))
		c->packed_len = n;
	else if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
		return fail_set(why, FAIL_SYSTEM, "zstd: %s", ZSTD_getErrorName(n));
	return 0;
}

int page_chunk_pack(struct page_codec *c, struct page_batch *b, int level, struct fail *why)
{
	c->packed_len = 0;
	if (batch_check(b, why))
		return -1;
	page_batch_hash(b);
	if (level == 0 || b->ndata == 0)
		return 0;
	return data_compress(c, level, b->pages, (size_t)b->ndata * PAGE_SIZE_4K, why);
}

/* Runs and hashes; returns the first byte behind them. */
static uint8_t *tables_put(uint8_t *p, const struct page_batch *b)
{
	for (uint32_t i = 0; i < b->nruns; i++, p += PAGE_CHUNK_RUN_BYTES) {
		put_le64(p, b->runs[i].first);
		put_le32(p + 8, b->runs[i].count);
		put_le32(p + 12, b->runs[i].kind);
	}
	for (uint32_t i = 0; i < b->ndata; i++, p += 8)
		put_le64(p, b->hashes[i]);
	return p;
}

void page_chunk_build(struct page_codec *c, const struct page_batch *b,
		      const struct page_chunk_form *f, struct page_chunk *out)
{
	uint8_t *payload = out->head + CHUNK_HEADER_BYTES, *p;
	size_t   raw = (size_t)b->ndata * PAGE_SIZE_4K, packed = c->packed_len, tables, fill = 0;

	p      = tables_put(payload + PAGE_CHUNK_HEAD, b);
	tables = (size_t)(p - payload);
	if (f->align && !packed && raw)
		fill = (size_t)(-(f->at + CHUNK_HEADER_BYTES + tables) % PAGE_CHUNK_ALIGN);
	memset(p, 0, fill);

	struct chunk h = chunk_of(CHUNK_PAGES, f->sequence,
				  tables + fill + (packed ? packed : raw));

	put_le32(payload, b->nruns);
	put_le32(payload + 4, b->ndata);
	put_le32(payload + 8, (uint32_t)(tables + fill));
	put_le32(payload + 12, (uint32_t)(packed ? packed : raw));
	h.encoding = packed ? CHUNK_ZSTD : CHUNK_RAW;
	h.region   = (uint16_t)b->region;
	h.round    = f->round;
	h.hashed   = (uint32_t)(tables + fill);
	chunk_header_put(out->head, &h, payload);
	/* Tables and raw data are multiples of 8: only what was compressed is padded. */
	if (packed)
		memset(c->packed + packed, 0, chunk_padding(h.len));
	out->head_len = CHUNK_HEADER_BYTES + tables + fill;
	out->data     = packed ? c->packed : b->pages;
	out->data_len = packed ? packed + chunk_padding(h.len) : raw;
}

int page_chunk_encode(struct page_codec *c, struct page_batch *b, const struct page_chunk_form *f,
		      struct page_chunk *out, struct fail *why)
{
	if (page_chunk_pack(c, b, f->level, why))
		return -1;
	page_chunk_build(c, b, f, out);
	return 0;
}

/* The numbers at the beginning of the payload; *data_len: bytes of the data as stored. */
static int tables_head(const struct chunk *h, const uint8_t *payload, uint32_t have, uint64_t at,
		       struct page_batch *b, uint32_t *data_len, struct fail *why)
{
	uint32_t tables, data_at;

	if (h->len < PAGE_CHUNK_HEAD || have < PAGE_CHUNK_HEAD)
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: truncated header");
	b->nruns  = get_le32(payload);
	b->ndata  = get_le32(payload + 4);
	data_at   = get_le32(payload + 8);
	*data_len = get_le32(payload + 12);
	if (b->nruns == 0 || b->nruns > BATCH_RUNS)
		return fail_at(why, FAIL_LIMIT, at,
			       "pages chunk: number of runs out of range: %" PRIu32
			       " (valid: 1 to %u)", b->nruns, BATCH_RUNS);
	if (b->ndata > BATCH_PAGES)
		return fail_at(why, FAIL_LIMIT, at,
			       "pages chunk: %" PRIu32 " data pages exceed the limit of %u",
			       b->ndata, BATCH_PAGES);
	tables = PAGE_CHUNK_HEAD + b->nruns * PAGE_CHUNK_RUN_BYTES + b->ndata * 8;
	if (data_at % 8 || data_at < tables || data_at - tables >= PAGE_CHUNK_ALIGN ||
	    data_at != h->hashed || data_at > h->len || *data_len != h->len - data_at ||
	    data_at > have)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: table and data sizes do not match the payload length");
	if (!bytes_all_zero(payload + tables, data_at - tables))
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: gap before data not zero");
	return 0;
}

int page_chunk_tables(const struct chunk *h, const uint8_t *payload, uint32_t have, uint64_t at,
		      uint64_t npages, struct page_batch *b, struct fail *why)
{
	const uint8_t *p = payload + PAGE_CHUNK_HEAD;
	uint64_t       next = 0, ndata = 0;
	uint32_t       data_len = 0;

	if (tables_head(h, payload, have, at, b, &data_len, why))
		return -1;
	for (uint32_t i = 0; i < b->nruns; i++, p += PAGE_CHUNK_RUN_BYTES) {
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
	if (h->encoding == CHUNK_RAW ? data_len != b->ndata * PAGE_SIZE_4K
				     : data_len >= b->ndata * PAGE_SIZE_4K)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: invalid data length: %" PRIu32
				       " bytes of %s data for %" PRIu32 " pages",
			       data_len, h->encoding ? "compressed" : "raw", b->ndata);
	if (ndata != b->ndata)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: runs list %" PRIu64
			       " data pages, header says %" PRIu32, ndata, b->ndata);
	for (uint32_t i = 0; i < b->ndata; i++)
		b->hashes[i] = get_le64(p + (size_t)i * 8);
	b->nhashed = b->ndata;
	b->region  = h->region;
	b->pages   = NULL;
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

/* The data, of the right length (page_chunk_tables), as the batch's pages. */
static int data_expand(struct page_codec *c, const struct chunk *h, const uint8_t *payload,
		       uint64_t at, struct page_batch *b, struct fail *why)
{
	const uint8_t *in  = payload + h->hashed;
	size_t         raw = (size_t)b->ndata * PAGE_SIZE_4K, len = h->len - h->hashed;

	b->pages = in;
	if (h->encoding == CHUNK_RAW)
		return 0;
	b->pages = b->data;
	if (!frame_is_ours(in, len, raw))
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: data is not a single zstd frame of %" PRIu32 " pages",
			       b->ndata);

	size_t n = ZSTD_decompressDCtx(c->dctx, b->data, raw, in, len);

	if (ZSTD_isError(n))
		return fail_at(why, FAIL_CORRUPT, at, "pages chunk: zstd: %s",
			       ZSTD_getErrorName(n));
	if (n != raw)
		return fail_at(why, FAIL_CORRUPT, at,
			       "pages chunk: zstd frame decompressed to %zu bytes for %" PRIu32
			       " pages", n, b->ndata);
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

int page_batch_verify(const struct page_batch *b, uint32_t first, uint32_t count, uint64_t at,
		      struct fail *why)
{
	for (uint32_t i = first; i < first + count; i++)
		if (!hash_same(b->hashes[i], page_hash(b->pages + (size_t)i * PAGE_SIZE_4K)))
			return fail_at(why, FAIL_CORRUPT, at,
				       "region %" PRIu32 ": page %" PRIu64 ": checksum mismatch",
				       b->region, page_batch_data_page(b, i));
	return 0;
}

int page_chunk_decode(struct page_codec *c, const struct chunk *h, const uint8_t *payload,
		      uint64_t at, uint64_t npages, struct page_batch *b, bool *damaged,
		      struct fail *why)
{
	bool ignored;

	if (!damaged)
		damaged = &ignored;
	*damaged = false;
	if (page_chunk_tables(h, payload, h->len, at, npages, b, why))
		return -1;
	*damaged = data_expand(c, h, payload, at, b, why) ||
		   page_batch_verify(b, 0, b->ndata, at, why);
	return *damaged ? -1 : 0;
}
