/* SPDX-License-Identifier: MIT */
#include "format/snapshot/file_internal.h"

#include "libcommon/io.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A snapshot file read where one likes. The index stays in the file: of each of its chunks the
 * first run is kept, so a page costs one chunk of index (kept too) and one page, or one compressed
 * chunk (kept too). */

/* A chunk's header at `at`, all of it before `limit`; its bytes into header. */
int image_header(const struct snap_image *s, uint8_t header[CHUNK_HEADER_BYTES],
			struct chunk *c, uint64_t at, uint64_t limit, struct fail *why)
{
	if (at < SNAP_HEADER_BYTES || at > limit || limit - at < CHUNK_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, at, "chunk offset out of range");
	if (io_pread(s->fd, header, CHUNK_HEADER_BYTES, at, s->what, why) ||
	    chunk_header_get(c, header, at, why))
		return -1;
	if (c->len > limit - at - CHUNK_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, at, "%s chunk: extends past the end of the file",
			       chunk_type_name(c->type));
	return 0;
}

static int image_chunk(const struct snap_image *s, struct chunk *c, uint64_t at, uint64_t limit,
		       struct fail *why)
{
	uint8_t header[CHUNK_HEADER_BYTES];

	return image_header(s, header, c, at, limit, why);
}

int image_payload(const struct snap_image *s, const struct chunk *c, uint64_t at, uint8_t *buf,
		  struct fail *why)
{
	if (io_pread(s->fd, buf, c->len, at + CHUNK_HEADER_BYTES, s->what, why))
		return -1;
	return chunk_payload_check(c, buf, at, why);
}

static int image_end(struct snap_image *s, struct fail *why)
{
	uint8_t      payload[SNAP_END_PAYLOAD];
	struct chunk c;
	uint64_t     at = s->bytes - SNAP_END_BYTES;

	if (s->bytes < SNAP_HEADER_BYTES + SNAP_END_BYTES)
		return fail_at(why, FAIL_CORRUPT, s->bytes, "unexpected end of snapshot");
	if (image_chunk(s, &c, at, s->bytes, why)) {
		if (why->kind == FAIL_SYSTEM)
			return -1;
		/* What chunk_header_get says of the bytes there helps nobody. */
		return fail_at(why, FAIL_CORRUPT, at,
			       "no END chunk: file truncated or followed by trailing data");
	}
	if (c.type != CHUNK_END || c.len != SNAP_END_PAYLOAD)
		return fail_at(why, FAIL_CORRUPT, at, "expected an END chunk, got %s",
			       chunk_type_name(c.type));
	if (image_payload(s, &c, at, payload, why) || snap_end_get(&s->end, payload, at, why))
		return -1;
	if (!uuid_equal(&s->end.snapshot, &s->header.snapshot))
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: snapshot UUID differs from the header");
	if (s->end.total != s->bytes)
		return fail_at(why, FAIL_CORRUPT, at,
			       "end chunk: file size mismatch: recorded %" PRIu64
			       " bytes, actual %" PRIu64,
			       s->end.total, s->bytes);
	return 0;
}

static int image_tree(struct snap_image *s, int which, uint16_t type, uint64_t at, struct fail *why)
{
	struct chunk c;

	if (image_chunk(s, &c, at, s->bytes - SNAP_END_BYTES, why))
		return -1;
	if (c.type != type || c.region || c.encoding || c.len == 0 || c.len > LIMIT_TREE_BYTES)
		return fail_at(why, FAIL_CORRUPT, at, "missing %s chunk", chunk_type_name(type));
	s->trees[which] = malloc(c.len);
	if (!s->trees[which])
		return fail_sys(why, "VM tree");
	s->lens[which] = c.len;
	return image_payload(s, &c, at, s->trees[which], why);
}

/* Runs in INDEX chunk i, and its offset. */
static uint32_t index_runs_in(const struct snap_image *s, uint64_t i)
{
	uint64_t left = s->end.index_runs - i * INDEX_CHUNK_RUNS;

	return left < INDEX_CHUNK_RUNS ? (uint32_t)left : INDEX_CHUNK_RUNS;
}

static uint64_t index_offset(const struct snap_image *s, uint64_t i)
{
	return s->end.index_at +
	       i * (CHUNK_HEADER_BYTES + (uint64_t)INDEX_CHUNK_RUNS * INDEX_RUN_BYTES);
}

/* Reads INDEX chunk i into s->index, checked by its hash each time: the file may have changed
 * since. */
static int index_load(struct snap_image *s, uint64_t i, struct fail *why)
{
	uint64_t     at = index_offset(s, i);
	struct chunk c;

	if (s->index_have == i)
		return 0;
	s->index_have = UINT64_MAX;
	if (image_chunk(s, &c, at, s->bytes - SNAP_END_BYTES, why))
		return -1;
	if (c.type != CHUNK_INDEX || c.region || c.encoding ||
	    c.len != index_runs_in(s, i) * INDEX_RUN_BYTES)
		return fail_at(why, FAIL_CORRUPT, at, "missing index chunk with %" PRIu32 " runs",
			       index_runs_in(s, i));
	if (image_payload(s, &c, at, s->index, why))
		return -1;
	s->index_have = i;
	return 0;
}

static int index_run_at(const struct snap_image *s, uint32_t k, struct index_run *r,
			struct fail *why)
{
	return index_run_get(r, s->index + (size_t)k * INDEX_RUN_BYTES,
			     index_offset(s, s->index_have), why);
}

static int index_run_check(struct snap_image *s, const struct index_run *r,
			   const struct index_run *last, struct fail *why)
{
	uint64_t at = index_offset(s, s->index_have), npages = s->npages[r->region];

	if (s->header.required & SNAP_STATE_ONLY || r->first > npages ||
	    r->count > npages - r->first)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index: page numbers out of range of region %" PRIu32, r->region);
	if (r->region < last->region ||
	    (r->region == last->region && last->count && r->first < last->first + last->count))
		return fail_at(why, FAIL_CORRUPT, at, "index: runs not in ascending order");
	if (r->chunk >= s->end.index_at)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index: chunk offset past the last pages chunk");
	s->kinds[r->region][r->kind] += r->count;
	return 0;
}

static int image_index(struct snap_image *s, struct fail *why)
{
	uint64_t         runs = s->end.index_runs, end = s->bytes - SNAP_END_BYTES;
	struct index_run r, last = { 0 };

	s->nindex = runs ? (runs + INDEX_CHUNK_RUNS - 1) / INDEX_CHUNK_RUNS : 1;
	if (runs > LIMIT_INDEX_RUNS)
		return fail_at(why, FAIL_LIMIT, end,
			       "index of %" PRIu64 " runs exceeds the limit of %" PRIu64, runs,
			       LIMIT_INDEX_RUNS);
	if (s->end.index_at < SNAP_HEADER_BYTES || s->end.index_at > end ||
	    end - s->end.index_at != s->nindex * CHUNK_HEADER_BYTES + runs * INDEX_RUN_BYTES)
		return fail_at(why, FAIL_CORRUPT, end, "end chunk: invalid index offset");
	s->firsts = calloc(s->nindex, sizeof(*s->firsts));
	if (!s->firsts)
		return fail_sys(why, "index");
	for (uint64_t i = 0; i < s->nindex; i++) {
		if (index_load(s, i, why))
			return -1;
		for (uint32_t k = 0; k < index_runs_in(s, i); k++) {
			if (index_run_at(s, k, &r, why) || index_run_check(s, &r, &last, why))
				return -1;
			if (k == 0)
				s->firsts[i] = (struct image_first){ r.region, r.first };
			last = r;
		}
	}
	return 0;
}

static int image_machine(struct snap_image *s, struct fail *why)
{
	if (agree_config(&s->header, s->trees[0], s->lens[0], SNAP_HEADER_BYTES, &s->machine,
			 s->npages, why))
		return -1;
	return agree_state(s->machine, s->trees[1], s->lens[1], s->end.state_at, why);
}

static int image_read(struct snap_image *s, struct fail *why)
{
	uint8_t header[SNAP_HEADER_BYTES];

	if (s->bytes < SNAP_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, s->bytes, "unexpected end of snapshot");
	if (io_pread(s->fd, header, sizeof(header), 0, s->what, why) ||
	    snap_header_get(&s->header, header, why))
		return -1;
	if (image_end(s, why) || image_tree(s, 0, CHUNK_CONFIG, SNAP_HEADER_BYTES, why) ||
	    image_tree(s, 1, CHUNK_STATE, s->end.state_at, why))
		return -1;
	return image_machine(s, why) ? -1 : image_index(s, why);
}

int snap_image_open(struct snap_image **out, int fd, const char *what, struct fail *why)
{
	struct snap_image *s;
	struct stat        st;

	if (fstat(fd, &st))
		return fail_sys(why, "%s", what);
	if (!S_ISREG(st.st_mode))
		return fail_set(why, FAIL_USAGE, "%s: not a regular file", what);
	s = aligned_alloc(alignof(struct snap_image), sizeof(*s));
	if (!s)
		return fail_sys(why, "%s: reader", what);
	memset(s, 0, offsetof(struct snap_image, batch));
	s->fd         = fd;
	s->bytes      = (uint64_t)st.st_size;
	s->index_have = UINT64_MAX;
	snprintf(s->what, sizeof(s->what), "%s", what);
	s->payload = malloc(page_chunk_capacity());
	if (!s->payload) {
		fail_sys(why, "%s: chunk buffer", what);
		goto failed;
	}
	if (page_codec_open(&s->codec, why))
		goto failed;
	if (image_read(s, why)) {
		if (why->kind != FAIL_SYSTEM)
			fail_prefix(why, "%s: ", what);
		goto failed;
	}
	*out = s;
	return 0;
failed:
	snap_image_close(s);
	return -1;
}

void snap_image_close(struct snap_image *s)
{
	if (!s)
		return;
	page_codec_close(s->codec);
	free(s->trees[0]);
	free(s->trees[1]);
	images_reader_close(s->images); /* refers to the machine */
	free(s->machine);
	free(s->firsts);
	free(s->payload);
	free(s);
}

/* The last run that begins at or before the page: 1, or 0 when there is none. */
static int index_find(struct snap_image *s, uint32_t region, uint64_t page, struct index_run *r,
		      struct fail *why)
{
	/* Of the chunks [low, high) the last that begins in time is sought. */
	uint64_t low = 0, high = s->nindex;

	if (s->end.index_runs == 0)
		return 0;
	while (high - low > 1) {
		uint64_t            mid = low + (high - low) / 2;
		const struct image_first *p = &s->firsts[mid];

		if (p->region < region || (p->region == region && p->page <= page))
			low = mid;
		else
			high = mid;
	}
	if (index_load(s, low, why))
		return -1;

	/* Runs before a begin in time, from b on too late. */
	uint32_t a = 0, b = index_runs_in(s, low);

	while (a < b) {
		uint32_t mid = a + (b - a) / 2;

		if (index_run_at(s, mid, r, why))
			return -1;
		if (r->region < region || (r->region == region && r->first <= page))
			a = mid + 1;
		else
			b = mid;
	}
	return a == 0 ? 0 : index_run_at(s, a - 1, r, why) ? -1 : 1;
}

/* The tables of the page chunk at `at`, and its data when compressed, into s. */
static int image_load(struct snap_image *s, uint32_t region, uint64_t at, struct fail *why)
{
	uint32_t have;

	if (s->chunk_at == at)
		return 0;
	s->chunk_at = 0;
	if (image_chunk(s, &s->chunk, at, s->end.index_at, why))
		return -1;
	if (s->chunk.type != CHUNK_PAGES || s->chunk.region != region ||
	    s->chunk.len > page_chunk_capacity() - CHUNK_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, at,
			       "index: no pages chunk of region %" PRIu32 " at this offset",
			       region);
	have = s->chunk.len;
	if (s->chunk.encoding == 0 && have > PAGE_CHUNK_TABLES)
		have = PAGE_CHUNK_TABLES;
	if (io_pread(s->fd, s->payload, have, at + CHUNK_HEADER_BYTES, s->what, why))
		return -1;
	if (page_chunk_tables(&s->chunk, s->payload, have, at, s->npages[region], &s->head,
			      &s->batch, s->hashes, why))
		return -1;
	if (s->chunk.encoding && (chunk_payload_check(&s->chunk, s->payload, at, why) ||
				  page_chunk_decode_hashes(s->codec, &s->chunk, s->payload, at,
							   s->npages[region], &s->batch, s->hashes,
							   NULL, why)))
		return -1;
	s->chunk_at = at;
	return 0;
}

int snap_image_page(struct snap_image *s, uint32_t region, uint64_t page, uint8_t out[PAGE_SIZE_4K],
		    enum page_kind *kind, struct fail *why)
{
	struct index_run r;
	uint32_t         slot;
	int              found;

	if (s->header.required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_REFUSED,
				"%s: snapshot without memory (saved with --state-only)", s->what);
	if (region >= LIMIT_REGIONS || page >= s->npages[region])
		return fail_set(why, FAIL_USAGE, "%s: region %" PRIu32 " has no page %" PRIu64,
				s->what, region, page);
	found = index_find(s, region, page, &r, why);
	if (found < 0)
		goto failed;
	if (!found || r.region != region || page - r.first >= r.count || r.kind == PAGE_ZERO) {
		memset(out, 0, PAGE_SIZE_4K);
		*kind = PAGE_ZERO;
		return 0;
	}
	if (image_load(s, region, r.chunk, why))
		goto failed;
	slot = r.slot + (uint32_t)(page - r.first);
	if (slot >= s->batch.ndata || page_batch_data_page(&s->batch, slot) != page) {
		fail_at(why, FAIL_CORRUPT, r.chunk,
			"pages chunk: region %" PRIu32 " page %" PRIu64
			" not found where the index points",
			region, page);
		goto failed;
	}
	if (s->chunk.encoding)
		memcpy(out, s->batch.data + (size_t)slot * PAGE_SIZE_4K, PAGE_SIZE_4K);
	else if (io_pread(s->fd, out, PAGE_SIZE_4K, r.chunk + CHUNK_HEADER_BYTES + s->head.tables +
			  (uint64_t)slot * PAGE_SIZE_4K, s->what, why))
		goto failed;
	if (!hash_same(s->hashes[slot], XXH3_64bits(out, PAGE_SIZE_4K))) {
		fail_at(why, FAIL_CORRUPT, r.chunk,
			"region %" PRIu32 ": page %" PRIu64 ": checksum mismatch", region, page);
		goto failed;
	}
	*kind = PAGE_DATA;
	return 0;
failed:
	if (why->kind != FAIL_SYSTEM)
		fail_prefix(why, "%s: ", s->what);
	return -1;
}

const struct snap_header *snap_image_header(const struct snap_image *s)
{
	return &s->header;
}

const uint8_t *snap_image_config(const struct snap_image *s, size_t *len)
{
	*len = s->lens[0];
	return s->trees[0];
}

const uint8_t *snap_image_state(const struct snap_image *s, size_t *len)
{
	*len = s->lens[1];
	return s->trees[1];
}

uint64_t snap_image_bytes(const struct snap_image *s)
{
	return s->bytes;
}

void snap_image_digests(const struct snap_image *s, uint8_t file[16], uint8_t content[16])
{
	memcpy(file, s->end.file, 16);
	memcpy(content, s->end.content, 16);
}

uint64_t snap_image_pages(const struct snap_image *s, uint32_t region, enum page_kind kind)
{
	return region < LIMIT_REGIONS && kind <= PAGE_PARENT ? s->kinds[region][kind] : 0;
}
