/* SPDX-License-Identifier: MIT */
/* The levels above the index: their shape for any number of runs, their keys, and the way down to a
 * page in a file that is made up while it is read, as a real one would have terabytes. */
#include "format/snapshot/file_internal.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "tests/unit/tap.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK    2048ull      /* docs/format.md 6 */
#define KEYS     4096ull
#define INDEX_AT 8192ull

static void test_shapes(void)
{
	static const struct { uint64_t runs; unsigned levels; } rows[] = {
		{ 0, 0 }, { 1, 0 }, { CHUNK, 0 }, { CHUNK + 1, 1 }, { CHUNK * KEYS, 1 },
		{ CHUNK * KEYS + 1, 2 }, { CHUNK * KEYS * KEYS, 2 },
		{ CHUNK * KEYS * KEYS + 1, 3 }, { LIMIT_INDEX_RUNS, 3 },
	};
	bool levels = true, placed = true, full = true;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint64_t     runs = rows[i].runs;
		struct index_shape s;
		uint64_t           at = INDEX_AT, below = runs;

		index_shape_of(&s, INDEX_AT, runs);
		levels &= s.levels == rows[i].levels;
		for (unsigned l = 0; l <= s.levels; l++) {
			uint64_t most = l ? KEYS : CHUNK, bytes = l ? 16 : 32, n = s.chunks[l];

			placed &= s.entries[l] == below && s.at[l] == at &&
				  index_shape_at(&s, l, 0) == at &&
				  index_shape_at(&s, l, n - 1) == at + (n - 1) * 65600;
			full &= (n - 1) * most + index_shape_entries(&s, l, n - 1) == below &&
				(n == 1 || index_shape_entries(&s, l, 0) == most) &&
				(n == 1 || index_shape_entries(&s, l, n - 1) > 0);
			at += n * 64 + below * bytes;
			below = n;
		}
		full &= below == 1;
		placed &= s.end == at;
	}
	ok(levels, "there are levels until one has a single chunk");
	ok(placed, "each begins where the one below ends, every full chunk 65600 bytes long");
	ok(full, "each has a key for each chunk below, 4096 in all its chunks but the last");
}

/* Three levels: 2^24 and some keys, of which few are touched. */
static void test_keys(void)
{
	const uint64_t     runs = (KEYS * KEYS + 4097) * CHUNK, n = runs / CHUNK;
	struct index_keys  k    = { .v = calloc(n, sizeof(struct index_key)), .n = n };
	uint8_t           *out  = malloc(KEYS * INDEX_KEY_BYTES);
	struct index_shape s;
	struct index_key   key;
	struct fail        why;
	bool               right = true, lengths = true;

	if (!k.v || !out)
		exit(1);
	index_shape_of(&s, INDEX_AT, runs);
	for (uint64_t i = 0; i < n; i += KEYS)
		k.v[i] = (struct index_key){ .region = (uint32_t)(i >> 21), .first = i };
	for (uint64_t i = n - 4097; i < n; i++)
		k.v[i] = (struct index_key){ .region = 9, .first = i };
	for (unsigned l = 1; l <= 3; l++) {
		const uint64_t step = l == 1 ? 1 : l == 2 ? KEYS : KEYS * KEYS;

		for (uint64_t c = s.chunks[l] > 2 ? s.chunks[l] - 2 : 0; c < s.chunks[l]; c++) {
			uint32_t have = index_shape_entries(&s, l, c);

			lengths &= index_level_payload(&k, &s, l, c, out) == have * 16;
			for (uint32_t e = 0; e < have; e++) {
				const struct index_key *want = &k.v[(c * KEYS + e) * step];

				right &= index_key_get(&key, out + (size_t)e * 16, 0, &why) == 0 &&
					 key.region == want->region && key.first == want->first;
			}
		}
	}
	ok(s.levels == 3 && s.chunks[3] == 1 && s.entries[3] == 2, "2^24 + 4097 keys: 3 levels");
	ok(lengths && right, "a level has every 4096th key of the one below");
	free(out);
	index_keys_free(&k);
}

static void test_key_rules(void)
{
	uint8_t          p[INDEX_KEY_BYTES];
	struct index_key k = { .region = 15, .first = UINT64_MAX };
	struct fail      why;
	bool             reserved = true;

	index_key_put(p, &k);
	memset(&k, 0, sizeof(k));
	ok(index_key_get(&k, p, 5, &why) == 0 && k.region == 15 && k.first == UINT64_MAX,
	   "a key says what was put in");
	for (unsigned i = 2; i < 8; i++) {
		p[i] = 1;
		reserved &= index_key_get(&k, p, 5, &why) == -1 && why.kind == FAIL_CORRUPT &&
			    why.at == 5;
		p[i] = 0;
	}
	ok(reserved, "its reserved bytes must be zero");
	p[0] = 16;
	ok(index_key_get(&k, p, 5, &why) == -1, "a key of region 16 is refused");
}

/* --- the way down: run n is page n of all regions behind each other, zero --- */

#define RUNS ((CHUNK * KEYS * KEYS) + 5 * CHUNK * KEYS + 77)

static struct index_shape shape;
static unsigned           reads;              /* payloads */
static uint64_t           spoil = UINT64_MAX; /* this chunk of the index names other pages */

static struct index_key key_of(uint64_t run)
{
	return (struct index_key){ .region = (uint32_t)(run >> 32), .first = (uint32_t)run };
}

/* The payload of the chunk at `at`. */
static struct chunk made(uint64_t at, uint8_t *payload)
{
	unsigned level = 0;
	uint64_t step  = 1, i;
	uint32_t n;

	while (level < shape.levels && at >= shape.at[level + 1])
		step *= level++ ? KEYS : CHUNK;
	i = (at - shape.at[level]) / 65600;
	if (at != index_shape_at(&shape, level, i))
		exit(1);
	n = index_shape_entries(&shape, level, i);
	for (uint32_t e = 0; e < n; e++) {
		struct index_key k = key_of((i * (level ? KEYS : CHUNK) + e) * step);

		if (level)
			index_key_put(payload + (size_t)e * 16, &k);
		else
			index_run_put(payload + (size_t)e * 32, &(struct index_run){
				.region = k.region, .first = k.first + (i == spoil), .count = 1,
				.kind = PAGE_ZERO });
	}
	return chunk_of(level ? CHUNK_INDEX_LEVEL : CHUNK_INDEX, 0, (size_t)n * (level ? 16 : 32));
}

int __wrap_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what,
		    struct fail *why);
int __wrap_io_pread(int fd, void *buf, size_t len, uint64_t at, const char *what, struct fail *why)
{
	static uint8_t payload[65536];
	uint8_t        header[CHUNK_HEADER_BYTES];
	struct chunk   c;

	(void)fd, (void)what, (void)why;
	if (len == CHUNK_HEADER_BYTES) {
		c = made(at, payload);
		chunk_header_put(header, &c, payload);
		memcpy(buf, header, sizeof(header));
		return 0;
	}
	reads++;
	c = made(at - CHUNK_HEADER_BYTES, payload);
	if (c.len != len)
		exit(1);
	memcpy(buf, payload, len);
	return 0;
}

static void test_find(void)
{
	struct snap_image *s = aligned_alloc(alignof(struct snap_image), sizeof(*s));
	struct index_run   r;
	struct fail        why;
	uint64_t           x = 88172645463325252;
	bool               right = true, few = true;
	unsigned           first;

	memset(s, 0, offsetof(struct snap_image, batch));
	memset(s->have, 0xff, sizeof(s->have));
	index_shape_of(&shape, INDEX_AT, RUNS);
	s->shape          = shape;
	s->bytes          = shape.end + SNAP_END_BYTES;
	s->end.index_runs = RUNS;
	s->end.index_at   = INDEX_AT;
	for (unsigned i = 0; i < LIMIT_REGIONS; i++)
		s->npages[i] = (uint64_t)1 << 32;
	ok(shape.levels == 3, "an index of three levels");
	for (unsigned i = 0; i < 300; i++) {
		uint64_t run = i < 3 ? (const uint64_t[]){ 0, RUNS - 1, RUNS - 77 }[i] : x % RUNS;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		first = reads;
		right &= image_find(s, key_of(run).region, key_of(run).first, &r, &why) == 1 &&
			 r.region == key_of(run).region && r.first == key_of(run).first;
		few &= reads - first <= 4;
	}
	ok(right, "each page is found, the first and the last too");
	ok(few && reads > 300, "by one chunk a level at most, the top is read once");
	first = reads;
	image_find(s, 3, 1000, &r, &why);
	unsigned now = reads;
	image_find(s, 3, 1000 + CHUNK / 2, &r, &why);
	ok(now - first <= 3 && reads - now <= 1, "the chunks of the last search are kept");
	ok(image_find(s, 15, 5, &r, &why) == 1 && r.region == 8 &&
	   r.first == key_of(RUNS - 1).first, "behind the last run that one is found");

	spoil = 5 * KEYS + 3;
	ok(image_find(s, key_of(spoil * CHUNK).region, key_of(spoil * CHUNK).first + 9, &r,
		      &why) == -1 && why.kind == FAIL_CORRUPT &&
	   why.at == index_shape_at(&shape, 0, spoil) && strstr(why.what, "does not match its key"),
	   "a chunk that begins elsewhere than its key says is refused");
	free(s);
}

int main(void)
{
	test_shapes();
	test_keys();
	test_key_rules();
	test_find();
	return done_testing();
}
