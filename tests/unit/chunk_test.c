/* SPDX-License-Identifier: MIT */
/* Chunk headers, page chunks, and the map of what is last known of each page. */
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

static void test_headers(void)
{
	static const struct {
		const char    *claim;
		size_t         at, width;
		uint64_t       value;
		enum fail_kind kind;
	} cases[] = {
		{ "another magic is refused", 0, 1, 'W', FAIL_CORRUPT },
		{ "an unknown flag is refused", 6, 2, 3, FAIL_VERSION },
		{ "an unknown encoding is refused", 8, 2, 2, FAIL_VERSION },
		{ "a cipher is refused", 10, 2, 1, FAIL_VERSION },
		{ "reserved bytes 14 and 15 must be zero", 15, 1, 1, FAIL_CORRUPT },
		{ "reserved bytes 36 to 39 must be zero", 39, 1, 1, FAIL_CORRUPT },
		{ "reserved bytes 48 to 55 must be zero", 55, 1, 1, FAIL_CORRUPT },
		{ "a payload above 8 MiB is refused", 20, 4, LIMIT_CHUNK_BYTES + 1, FAIL_LIMIT },
		{ "a payload of 2^32-1 bytes is refused", 20, 4, UINT32_MAX, FAIL_LIMIT },
		{ "a hash over more than the payload is refused", 32, 4, 102, FAIL_CORRUPT },
	};
	static const uint8_t payload[101 + 3] = { 1, 2, 3 };
	uint8_t              h[CHUNK_HEADER_BYTES], bad[CHUNK_HEADER_BYTES], end[8] = { 0 };
	struct chunk         c = chunk_of(CHUNK_STATE, 5, 101);
	struct fail          why;
	unsigned             seen = 0;

	ok(c.flags == CHUNK_REQUIRED && c.hashed == 101 && chunk_bytes(&c) == 64 + 104,
	   "a chunk is hashed as a whole and takes a multiple of 8 bytes");
	c.encoding = 1;
	c.region   = 7;
	c.round    = 0x80000001;
	c.sequence = UINT64_MAX - 1;
	chunk_header_put(h, &c, payload);
	memset(&c, 0xff, sizeof(c));
	ok(chunk_header_get(&c, h, 0, &why) == 0 && c.type == CHUNK_STATE &&
	   c.flags == CHUNK_REQUIRED && c.encoding == 1 && c.region == 7 &&
	   c.round == 0x80000001 && c.sequence == UINT64_MAX - 1 && c.len == 101 &&
	   c.hashed == 101 && chunk_payload_check(&c, payload, 0, &why) == 0,
	   "a chunk header says what was put in");
	for (unsigned bit = 0; bit < sizeof(h) * 8; bit++) {
		memcpy(bad, h, sizeof(h));
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		seen += chunk_header_get(&c, bad, 0, &why) == -1;
	}
	ok(seen == sizeof(h) * 8, "every flipped bit of a chunk header is seen");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(bad, h, sizeof(h));
		for (size_t b = 0; b < cases[i].width; b++)
			bad[cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		put_le64(bad + 56, XXH3_64bits(bad, 56));
		ok(chunk_header_get(&c, bad, 9, &why) == -1 && why.kind == cases[i].kind &&
		   why.at == 9, cases[i].claim);
	}
	chunk_header_get(&c, h, 0, &why);
	ok(chunk_payload_check(&c, payload + 1, 5, &why) == -1 && why.kind == FAIL_CORRUPT &&
	   why.at == 5, "a payload that is another's is seen");
	ok(chunk_padding_check(&c, end, 5, &why) == 0, "three zeroes behind 101 bytes");
	end[3] = 1;
	ok(chunk_padding_check(&c, end, 5, &why) == 0, "what is behind them is not the chunk's");
	end[2] = 1;
	ok(chunk_padding_check(&c, end, 5, &why) == -1 && why.kind == FAIL_CORRUPT &&
	   why.at == 5, "others than zeroes are seen");
	c.hashed = 3;
	chunk_header_put(h, &c, payload);
	ok(chunk_header_get(&c, h, 0, &why) == 0 && c.hash == XXH3_64bits(payload, 3),
	   "a hash may cover the beginning of a payload");
	c.len = c.hashed = 0;
	chunk_header_put(h, &c, NULL);
	ok(chunk_header_get(&c, h, 0, &why) == 0 && chunk_bytes(&c) == 64 &&
	   chunk_payload_check(&c, payload, 0, &why) == 0, "an empty payload is one");
	ok(strcmp(chunk_type_name(CHUNK_PAGES), "pages") == 0 &&
	   strcmp(chunk_type_name(999), "unknown") == 0, "chunk types have names");
}

static void fill_batch(uint32_t region, unsigned ndata, bool noise)
{
	page_batch_begin(batch, region);
	for (uint64_t p = 10; batch->ndata < ndata; p += rng() % 3 ? 1 : 7) {
		uint8_t *slot = page_batch_slot(batch);

		for (int i = 0; i < 4096; i += 8)
			put_le64(slot + i, noise ? rng() : p + 1);
		if (rng() % 4 == 0)
			page_batch_add_zero(batch, p);
		else
			page_batch_add_slot(batch, p);
	}
}

static bool batches_same(const struct page_batch *a, const struct page_batch *b)
{
	return a->region == b->region && a->nruns == b->nruns && a->ndata == b->ndata &&
	       memcmp(a->runs, b->runs, a->nruns * sizeof(*a->runs)) == 0 &&
	       memcmp(a->pages, b->pages, (size_t)a->ndata * 4096) == 0;
}

/* As a file or a peer has it: header and payload in one piece. */
static struct page_chunk chunk;
static uint8_t           whole[PAGE_CHUNK_MAX + 64];

static size_t encode(struct page_codec *codec, int level, struct chunk *c)
{
	const struct page_chunk_form form = { .level = level, .round = 3, .sequence = 8 };
	struct fail                  why;

	if (page_chunk_encode(codec, batch, &form, &chunk, &why))
		DIE("page chunk: %s", why.what);
	memcpy(whole, chunk.head, chunk.head_len);
	memcpy(whole + chunk.head_len, chunk.data, chunk.data_len);
	if (chunk_header_get(c, whole, 0, &why) ||
	    chunk_payload_check(c, whole + CHUNK_HEADER_BYTES, 0, &why) ||
	    chunk_padding_check(c, whole + CHUNK_HEADER_BYTES + c->len, 0, &why))
		DIE("page chunk: %s", why.what);
	return chunk.head_len + chunk.data_len;
}

struct frame {
	struct chunk c;
	uint8_t     *payload, *data;
};

/* A chunk of 64 pages that zstd makes small; data: its frame. */
static struct frame frame_make(struct page_codec *codec)
{
	struct frame f = { .payload = whole + CHUNK_HEADER_BYTES };

	fill_batch(0, 64, false);
	encode(codec, 1, &f.c);
	if (f.c.encoding != 1)
		DIE("not compressed");
	f.data = f.payload + f.c.hashed;
	return f;
}

static void frame_grow(struct frame *f, int bytes)
{
	f->c.len += (uint32_t)bytes;
	put_le32(f->payload + 12, get_le32(f->payload + 12) + (uint32_t)bytes);
}

static void frame_put(struct frame *f, const uint8_t *frame, size_t len)
{
	frame_grow(f, (int)len - (int)get_le32(f->payload + 12));
	memcpy(f->data, frame, len);
}

static bool frame_refused(struct page_codec *codec, const struct frame *f, struct page_batch *got,
			  const char *what)
{
	struct fail why = { 0 };

	if (page_chunk_decode(codec, &f->c, f->payload, 0, 1u << 20, got, NULL, &why) == -1 &&
	    why.kind == FAIL_CORRUPT && strstr(why.what, what))
		return true;
	printf("# %s\n", why.what);
	return false;
}

/* Frames that libzstd reads, or may read, and that are none of this format. */
static void test_frames(struct page_codec *codec, struct page_batch *got)
{
	static const uint8_t skippable[8] = { 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0 };
	static uint8_t       made[1 << 20];
	uint8_t             *p;
	struct frame         f = frame_make(codec);
	struct fail          why;

	ok(page_chunk_decode(codec, &f.c, f.payload, 0, 1u << 20, got, NULL, &why) == 0,
	   "a frame of 64 pages is read");
	memcpy(f.payload + f.c.len, skippable, 8);
	frame_grow(&f, 8);
	ok(frame_refused(codec, &f, got, "not a single zstd frame"),
	   "a second frame behind the first is refused");

	f = frame_make(codec);
	memmove(f.data + 8, f.data, get_le32(f.payload + 12));
	memcpy(f.data, skippable, 8);
	frame_grow(&f, 8);
	ok(frame_refused(codec, &f, got, "not a single zstd frame"),
	   "a skippable frame in front is refused");

	/* Dictionary 0, in one byte: to libzstd the same as none. */
	f = frame_make(codec);
	size_t id = f.data[4] & 0x20 ? 5 : 6;
	memmove(f.data + id + 1, f.data + id, get_le32(f.payload + 12) - id);
	f.data[4] |= 1;
	f.data[id] = 0;
	frame_grow(&f, 1);
	ok(frame_refused(codec, &f, got, "not a single zstd frame"),
	   "a frame with a dictionary is refused");

	/* zstd 0.7: magic, descriptor of a single segment with its size in four bytes, blocks that
	 * repeat a byte, the end. */
	f = frame_make(codec);
	p = made;
	put_le32(p, 0xfd2fb527);
	p[4] = 2 << 6 | 1 << 5;
	put_le32(p + 5, 64 * 4096);
	p += 9;
	for (uint32_t left = 64 * 4096, n; left; left -= n, p += 4) {
		n    = left < 131072 ? left : 131072;
		p[0] = (uint8_t)(2 << 6 | (n >> 16 & 7));
		p[1] = (uint8_t)(n >> 8);
		p[2] = (uint8_t)n;
		p[3] = 'A';
	}
	p[0] = 3 << 6;
	p[1] = p[2] = 0;
	frame_put(&f, made, (size_t)(p + 3 - made));
	ok(frame_refused(codec, &f, got, "not a single zstd frame"),
	   "a frame of zstd 0.7 is refused");

	/* Raw blocks of two bytes: longer than what they hold. */
	f = frame_make(codec);
	p = made;
	put_le32(p, 0xfd2fb528);
	p[4] = 2 << 6 | 1 << 5;
	put_le32(p + 5, 64 * 4096);
	p += 9;
	for (uint32_t left = 64 * 4096; left; left -= 2, p += 5)
		memcpy(p, (uint8_t[5]){ (uint8_t)(2 << 3 | (left == 2)), 0, 0, 'A', 'A' }, 5);
	frame_put(&f, made, (size_t)(p - made));
	ok(frame_refused(codec, &f, got, "bytes of compressed data for 64 pages"),
	   "a frame larger than its pages is refused");
}

static void test_round_trips(struct page_codec *codec, struct page_batch *got)
{
	static const int levels[] = { 0, 1, 3, -5, 19 };
	struct chunk     c;
	struct fail      why;
	size_t           len, small = 0;
	bool             same = true, hashed = true, damaged, fields = true;

	for (unsigned i = 0; i < 20; i++) {
		fill_batch(i % 4, i < 15 ? 1 + (unsigned)rng() % BATCH_PAGES : BATCH_PAGES, i % 2);
		len = encode(codec, levels[i % 5], &c);
		if (page_chunk_decode(codec, &c, whole + CHUNK_HEADER_BYTES, 0, 1u << 20, got,
				      &damaged, &why))
			DIE("page chunk: %s", why.what);
		same &= batches_same(batch, got) && len == chunk_bytes(&c) && !damaged;
		fields &= c.flags == CHUNK_REQUIRED && c.region == i % 4 && c.round == 3 &&
			  c.sequence == 8 && get_le32(whole + 64 + 8) == c.hashed &&
			  get_le32(whole + 64 + 12) == c.len - c.hashed;
		hashed &= batch->nhashed == batch->ndata && got->nhashed == batch->ndata;
		for (uint32_t k = 0; k < batch->ndata; k++)
			hashed &= batch->hashes[k] == got->hashes[k] &&
				  got->hashes[k] ==
					  XXH3_64bits(batch->data + (size_t)k * 4096, 4096);
		if (i % 2 && c.encoding)
			small++;
	}
	ok(same, "a page chunk decodes to the batch it was made of, at every level");
	ok(fields, "its header says region, round and number, and covers the tables");
	ok(hashed, "the hashes of the batch are those of the pages");
	ok(small == 0, "noise is stored raw whatever level was asked for");
}

/* What is wrong in the data is damage, what is wrong in the tables is no page chunk. */
static void test_damage(struct page_codec *codec, struct page_batch *got)
{
	uint8_t     *payload = whole + CHUNK_HEADER_BYTES;
	struct chunk c;
	struct fail  why;
	size_t       len;
	bool         damaged;
	char         says[40];

	fill_batch(0, 100, true);
	len = encode(codec, 0, &c);
	whole[len - 4096 * 3 + 5] ^= 1;      /* data page 97 */
	snprintf(says, sizeof(says), "page %llu: checksum",
		 (unsigned long long)page_batch_data_page(batch, 97));
	ok(page_chunk_decode(codec, &c, payload, 7, 1u << 20, got, &damaged, &why) == -1 &&
	   why.kind == FAIL_CORRUPT && why.at == 7 && damaged && strstr(why.what, says),
	   "a page that does not match its hash is named, and is damage");
	ok(page_chunk_tables(&c, payload, c.hashed, 7, 1u << 20, got, &why) == 0 &&
	   got->ndata == 100, "its tables are valid without the data");
	whole[len - 4096 * 3 + 5] ^= 1;
	ok(page_chunk_decode(codec, &c, payload, 7, batch->runs[batch->nruns - 1].first, got,
			     &damaged, &why) == -1 && !damaged,
	   "a run past the region's end is refused, and no damage");
	fill_batch(0, 64, false);
	encode(codec, 1, &c);
	payload[c.len - 9] ^= 0x10;
	ok(page_chunk_decode(codec, &c, payload, 7, 1u << 20, got, &damaged, &why) == -1 &&
	   damaged && why.kind == FAIL_CORRUPT, "a changed frame is damage");
	printf("#   %s\n", why.what);
}

/* Rules of docs/format.md 4 that the head and the gap before the data follow. */
static void test_alignment(struct page_codec *codec, struct page_batch *got)
{
	struct page_chunk_form form = { .align = true, .at = 4096 + 8 * 77 };
	struct chunk           c;
	struct fail            why;
	bool                   aligned = true, same = true, damaged;
	uint8_t               *payload = whole + CHUNK_HEADER_BYTES;

	for (unsigned n = 1; n < 200; n += 13, form.at += 8 * n) {
		fill_batch(0, n, true);
		if (page_chunk_encode(codec, batch, &form, &chunk, &why))
			DIE("page chunk: %s", why.what);
		aligned &= (form.at + chunk.head_len) % PAGE_CHUNK_ALIGN == 0;
		memcpy(whole, chunk.head, chunk.head_len);
		memcpy(whole + chunk.head_len, chunk.data, chunk.data_len);
		same &= chunk_header_get(&c, whole, 0, &why) == 0 &&
			page_chunk_decode(codec, &c, payload, 0, 1u << 20, got, NULL, &why) == 0 &&
			batches_same(batch, got);
	}
	ok(aligned && same, "raw data can be placed at multiples of 4096");

	uint32_t tables = 16 + batch->nruns * 16 + batch->ndata * 8;

	if (tables == c.hashed)
		DIE("no gap");
	payload[c.hashed - 1] = 1;
	ok(page_chunk_decode(codec, &c, payload, 7, 1u << 20, got, &damaged, &why) == -1 &&
	   strstr(why.what, "gap") && !damaged, "the gap before them must be zero");
	payload[c.hashed - 1] = 0;
	fill_batch(0, 20, false);
	form = (struct page_chunk_form){ .align = true, .at = 4096, .level = 1 };
	if (page_chunk_encode(codec, batch, &form, &chunk, &why))
		DIE("page chunk: %s", why.what);
	ok(chunk.head_len == 64 + 16 + batch->nruns * 16 + 20 * 8 && chunk.data_len % 8 == 0,
	   "what is compressed needs none");
}

static void test_page_chunks(void)
{
	struct page_batch     *got = aligned_alloc(4096, (sizeof(*got) + 4095) / 4096 * 4096);
	struct page_chunk_form form = { 0 };
	struct page_codec     *codec;
	struct chunk           c;
	struct fail            why;

	if (!got || page_codec_open(&codec, &why))
		DIE("no memory");
	test_round_trips(codec, got);
	test_damage(codec, got);
	test_alignment(codec, got);

	/* Zero pages only: no data, no frame, whatever the level. */
	page_batch_begin(batch, 2);
	for (uint64_t p = 0; p < 100000; p++)
		page_batch_add_zero(batch, p);
	ok(encode(codec, 3, &c) == CHUNK_HEADER_BYTES + 16 + 16 && c.encoding == 0 &&
	   page_chunk_decode(codec, &c, whole + CHUNK_HEADER_BYTES, 0, 100000, got, NULL,
			     &why) == 0 && batches_same(batch, got),
	   "a hundred thousand zero pages are one run");
	c.encoding = 1;
	ok(page_chunk_decode(codec, &c, whole + CHUNK_HEADER_BYTES, 0, 100000, got, NULL,
			     &why) == -1 && why.kind == FAIL_CORRUPT,
	   "compressed they are refused");

	page_batch_begin(batch, 0);
	ok(page_chunk_encode(codec, batch, &form, &chunk, &why) == -1 &&
	   why.kind == FAIL_USAGE, "an empty batch is refused");
	fill_batch(0, 5, true);
	batch->ndata = 4;
	ok(page_chunk_encode(codec, batch, &form, &chunk, &why) == -1 &&
	   why.kind == FAIL_USAGE, "a batch that contradicts itself is refused");
	fill_batch(0, 5, false);
	form.level = 20;
	ok(page_chunk_encode(codec, batch, &form, &chunk, &why) == -1 &&
	   why.kind == FAIL_USAGE, "level 20 is refused");

	test_frames(codec, got);
	page_codec_close(codec);
	free(got);
}

static void test_pagemap_work(void);

/* pagemap against a plain array. */
static void test_pagemap(void)
{
	enum { N = 512 * 512 * 2 + 700 };
	static uint8_t        kinds[N];
	static uint64_t       wheres[N];
	struct pagemap       *m;
	struct pagemap_entry  e;
	struct fail           why;
	uint64_t              span;
	bool                  same = true;

	if (pagemap_open(&m, N, &why))
		DIE("pagemap: %s", why.what);
	for (int i = 0; i < 20000; i++) {
		uint64_t p = rng() % N, n;

		switch (rng() % 8) {
		case 0:
			n = rng() % 3 ? rng() % 2000 + 1 : rng() % (512 * 600) + 1;
			if (rng() % 4 == 0)
				p = p / 512 * 512;
			if (rng() % 9 == 0)
				p = p / (512 * 512) * 512 * 512;
			n = n < N - p ? n : N - p;
			if (rng() % 200 == 0)
				n = N - p;
			if (pagemap_set_zero(m, p, n, &why))
				DIE("pagemap: %s", why.what);
			memset(kinds + p, PAGE_ZERO, n);
			break;
		default:
			n = rng() % 700 + 1;
			for (uint64_t k = p; k < N && k < p + n; k++) {
				e = (struct pagemap_entry){ .hash = k ^ (uint64_t)i,
							    .where = (uint64_t)i };
				if (pagemap_set_data(m, k, &e, &why))
					DIE("pagemap: %s", why.what);
				kinds[k] = PAGE_DATA;
				wheres[k] = (uint64_t)i;
			}
		}
		if (i > 60 && i % 1000)
			continue;
		for (uint64_t k = 0; k < N; k += span) {
			int kind = pagemap_at(m, k, &e, &span);

			same &= span > 0 && span <= N - k;
			for (uint64_t q = k; q < k + span; q++)
				same &= kinds[q] == kind &&
					(kind != PAGE_DATA ||
					 (wheres[q] == e.where && e.hash == (q ^ e.where)));
		}
	}
	ok(same, "the page map holds the last word on each page");
	pagemap_close(m);

	test_pagemap_work();
	ok(pagemap_open(&m, LIMIT_REGION_BYTES / 4096 + 1, &why) == -1 && why.kind == FAIL_LIMIT,
	   "a larger region is refused");
}

/* How often a reader of the index has to ask, from the first page to the last. */
static uint64_t pagemap_asked(const struct pagemap *m)
{
	struct pagemap_entry e;
	uint64_t             n = 0, span;

	for (uint64_t page = 0; page < pagemap_pages(m); page += span, n++)
		pagemap_at(m, page, &e, &span);
	return n;
}

/* What a hostile stream may claim: work follows the runs, 16 bytes each in the stream, not the
 * pages that they name. */
static void test_pagemap_work(void)
{
	const uint64_t       npages = LIMIT_REGION_BYTES / 4096, mid = 512 * 512;
	const unsigned       runs   = 2000;
	struct pagemap_entry e      = { .hash = 1, .where = 1 };
	struct pagemap      *m;
	struct fail          why;
	uint64_t             span, done;
	bool                 good;

	if (pagemap_open(&m, npages, &why))
		DIE("pagemap: %s", why.what);
	done = pagemap_steps(m);
	for (unsigned i = 0; i < runs; i++)
		if (pagemap_set_zero(m, i, npages - i, &why))
			DIE("pagemap: %s", why.what);
	good = pagemap_steps(m) - done < npages / mid * 40 + runs * 100;
	ok(good && pagemap_at(m, npages - 1, &e, &span) == PAGE_ZERO,
	   "2000 zero runs of 16 TiB: each middle node once, then less than 100 steps each");
	pagemap_close(m);

	/* Of each middle node all but a page at each end, again and again. */
	if (pagemap_open(&m, npages, &why))
		DIE("pagemap: %s", why.what);
	for (unsigned again = 0; again < 5; again++) {
		done = pagemap_steps(m);
		for (uint64_t at = 0; at < 200; at++)
			if (pagemap_set_zero(m, at * mid + 1, mid - 2, &why))
				DIE("pagemap: %s", why.what);
	}
	ok(pagemap_steps(m) - done < 200 * 60,
	   "a run of 2^18 zero pages over such pages takes less than 60 steps");
	ok(pagemap_asked(m) < 200 * 6 + npages / mid, "the index asks a few times for it");
	pagemap_close(m);

	/* A zero page here and there, and a leaf with one data page. */
	if (pagemap_open(&m, npages, &why))
		DIE("pagemap: %s", why.what);
	done = pagemap_steps(m);
	for (uint64_t at = 0; at < 5000; at++)
		if (pagemap_set_zero(m, at * 600, 1, &why) ||
		    (at % 10 == 0 && pagemap_set_data(m, at * 600 + 7, &e, &why)))
			DIE("pagemap: %s", why.what);
	ok(pagemap_steps(m) - done < 5000 * 100 && pagemap_asked(m) < 5000 * 6 + npages / mid,
	   "scattered zero pages cost a few steps each, to note and to list");
	pagemap_close(m);
}

static void test_content(void)
{
	struct content *a, *b;
	struct fail     why;
	uint8_t         da[16], db[16];

	if (content_open(&a, &why) || content_open(&b, &why) || content_region(a, 0, 5000, &why) ||
	    content_region(b, 0, 5000, &why))
		DIE("content");
	/* a: page 7 is data that is zero; b: never touched. */
	static const uint8_t zero[4096];
	page_batch_begin(batch, 0);
	batch->nruns = 1;
	batch->ndata = 1;
	batch->nhashed = 1;
	batch->runs[0] = (struct page_run){ .first = 7, .count = 1, .kind = PAGE_DATA };
	batch->hashes[0] = XXH3_64bits(zero, sizeof(zero));
	if (content_pages(a, batch, &why))
		DIE("content");
	page_batch_begin(batch, 0);
	page_batch_add_zero(batch, 4999);
	if (content_pages(a, batch, &why) || content_digest(a, da, &why) ||
	    content_digest(b, db, &why))
		DIE("content");
	ok(memcmp(da, db, 16) == 0, "untouched, zero and data that is zero are one memory");
	batch->nruns = batch->ndata = 1;
	batch->runs[0] = (struct page_run){ .first = 4999, .count = 1, .kind = PAGE_DATA };
	batch->hashes[0] = 1;
	if (content_pages(a, batch, &why) || content_digest(a, da, &why))
		DIE("content");
	ok(memcmp(da, db, 16) != 0, "another page is another memory");
	ok(content_region(a, 0, 5000, &why) == -1 &&
	   content_region(a, LIMIT_REGIONS, 1, &why) == -1,
	   "a region twice, and one above the limit, are refused");
	page_batch_begin(batch, 0);
	page_batch_add_zero(batch, 5000);
	ok(content_pages(a, batch, &why) == -1, "pages outside a region are refused");
	page_batch_begin(batch, 4);
	page_batch_add_zero(batch, 1);
	ok(content_pages(a, batch, &why) == -1, "pages of no region are refused");
	content_close(a);
	content_close(b);

	ok(digests_machine(da, config, config_len, state, state_len, &why) == 0 &&
	   digests_machine(db, config, config_len, config, config_len, &why) == 0 &&
	   memcmp(da, db, 16) != 0, "another state is another machine");
	ok(digests_machine(db, state, state_len, config, config_len, &why) == 0 &&
	   memcmp(da, db, 16) != 0, "configuration and state are told apart");
	ok(digests_machine(db, "c", 1, state, state_len, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "what is no tree has no digest");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_headers();
	test_page_chunks();
	test_pagemap();
	test_content();
	free(batch);
	return done_testing();
}
