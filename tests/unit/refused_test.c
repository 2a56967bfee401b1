/* SPDX-License-Identifier: MIT */
/* Damaged and hostile snapshots: each is refused, with what and where. */
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <unistd.h>

/* Reads it all: 0, or -1. */
static int read_all(int fd, struct fail *why)
{
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	int                 rc;

	if (snap_stream_open(&s, fd, "test", why))
		return -1;
	while ((rc = snap_stream_next(s, &c, &payload, &at, why)) > 0)
		;
	snap_stream_close(s);
	return rc;
}

static bool refused(const uint8_t *buf, size_t len, struct fail *why)
{
	int fd = memfd_of(buf, len);
	int rc = read_all(fd, why);

	close(fd);
	return rc < 0 && (why->kind == FAIL_CORRUPT || why->kind == FAIL_VERSION ||
			  why->kind == FAIL_LIMIT) && why->what[0] &&
	       why->has_at;
}

static void test_flips(void)
{
	struct fail why;
	uint8_t    *f;
	size_t      len = guest_small(&f, 1, 0), missed = 0, tried = 0;
	bool        whole = !refused(f, len, &why);

	for (size_t bit = 0; bit < 512 * 8; bit += 7, tried++) {      /* the header's fields */
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		missed += !refused(f, len, &why);
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = (len - SNAP_END_BYTES) * 8; bit < len * 8; bit++, tried++) {
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		missed += !refused(f, len, &why);
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (int i = 0; i < 2000; i++, tried++) {
		size_t bit = rng() % (len * 8);

		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!refused(f, len, &why)) {
			missed++;
			printf("# bit %zu of byte %zu went unseen\n", bit % 8, bit / 8);
		}
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ok(whole && missed == 0,
	   "every flipped bit of header, end and elsewhere is refused, with its place");
	f = realloc(f, len + 1);
	f[len] = 0;
	ok(refused(f, len + 1, &why) && strstr(why.what, "trailing") && why.at == len,
	   "a byte behind the end is trailing data");
	missed = 0;
	for (size_t cut = 0; cut < len; cut += cut < len - 400 ? 97 : 1)
		missed += !refused(f, cut, &why);
	ok(missed == 0, "a truncated snapshot is refused wherever it was cut");
	free(f);
}

static void test_hostile(void)
{
	static const struct {
		const char *claim;
		uint16_t    chunk;      /* 0: the file's header */
		size_t      at;         /* from the chunk's header */
		size_t      width;
		uint64_t    value;
	} cases[] = {
		{ "a pages chunk with no runs is refused", CHUNK_PAGES, 48, 4, 0 },
		{ "a pages chunk with 2^32-1 runs is refused", CHUNK_PAGES, 48, 4, UINT32_MAX },
		{ "a pages chunk with 1025 runs is refused", CHUNK_PAGES, 48, 4, 1025 },
		{ "a pages chunk with 513 data pages is refused", CHUNK_PAGES, 52, 4, 513 },
		{ "a pages chunk whose data length lies is refused", CHUNK_PAGES, 56, 4, 1 },
		{ "a run outside its region is refused", CHUNK_PAGES, 48 + 24, 8, RAM_PAGES },
		{ "a run whose end wraps is refused", CHUNK_PAGES, 48 + 24, 8, UINT64_MAX },
		{ "a run of no pages is refused", CHUNK_PAGES, 48 + 24 + 8, 4, 0 },
		{ "a run of 2^32-1 pages is refused", CHUNK_PAGES, 48 + 24 + 8, 4, UINT32_MAX },
		{ "a run of an unknown kind is refused", CHUNK_PAGES, 48 + 24 + 12, 4, 9 },
		{ "a parent's pages are refused", CHUNK_PAGES, 48 + 24 + 12, 4, PAGE_PARENT },
		{ "pages of a region the configuration lacks are refused", CHUNK_PAGES, 12, 4, 1 },
		{ "pages of region 2^32-1 are refused", CHUNK_PAGES, 12, 4, UINT32_MAX },
		{ "an unknown encoding is refused", CHUNK_PAGES, 8, 2, 2 },
		{ "a chunk longer than the limit is refused", CHUNK_PAGES, 16, 8,
		  LIMIT_CHUNK_BYTES + 1 },
		{ "a chunk of 2^64-1 bytes is refused", CHUNK_PAGES, 16, 8, UINT64_MAX },
		{ "a chunk of an unknown type that is required is refused", CHUNK_ROUND_END, 4, 4,
		  0x10000 + 77 },
		{ "a disk chunk is refused by a build without disks", CHUNK_ROUND_END, 4, 4,
		  0x10000 + CHUNK_DISK },
		{ "a control chunk is refused in a snapshot", CHUNK_ROUND_END, 4, 4,
		  0x10000 + CHUNK_CONTROL },
		{ "a second configuration is refused", CHUNK_ROUND_END, 4, 4,
		  0x10000 + CHUNK_CONFIG },
		{ "an end in the middle is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_END },
		{ "reserved bytes of a round's end must be zero", CHUNK_ROUND_END, 48 + 4, 4, 1 },
		{ "an index that names another page is refused", CHUNK_INDEX, 48 + 8, 8, 2 },
		{ "an index that names another place is refused", CHUNK_INDEX, 48 + 24, 8, 4096 },
		{ "an end with another count of chunks is refused", CHUNK_END, 48 + 64, 8, 3 },
		{ "an end with another length is refused", CHUNK_END, 48 + 72, 8, 3 },
		{ "an end of another snapshot is refused", CHUNK_END, 48, 8, 3 },
		{ "a content digest that is another's is refused", CHUNK_END, 48 + 32, 8, 3 },
		{ "reserved bytes of the end must be zero", CHUNK_END, 48 + 120, 8, 3 },
		{ "an unknown required feature is refused", 0, 16, 8, (uint64_t)1 << 40 },
		{ "another format version is refused", 0, 8, 4, 7 },
		{ "the flat layout is refused by a build without it", 0, 36, 4, SNAP_FLAT },
		{ "unknown header flags are refused", 0, 40, 4, 2 },
		{ "reserved bytes of the header must be zero", 0, 2000, 4, 2 },
		{ "a name with a slash is refused", 0, 128, 4, 0x2f2f2f2f },
	};
	uint8_t    *f;
	size_t      len = guest_small(&f, 0, 0);
	struct fail why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *g = malloc(len);
		size_t   at = cases[i].chunk ? guest_find(f, cases[i].chunk) : 0;

		memcpy(g, f, len);
		for (size_t b = 0; b < cases[i].width; b++)
			g[at + cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		guest_rehash(g, len);
		bool is = refused(g, len, &why);
		ok(is, cases[i].claim);
		printf("#   %s (at byte %llu)\n", is ? why.what : "accepted",
		       (unsigned long long)why.at);
		free(g);
	}
	guest_rehash(f, len);
	ok(!refused(f, len, &why), "the same file with nothing changed is accepted");
	/* An unknown chunk without the required bit. */
	size_t at = guest_find(f, CHUNK_ROUND_END);
	put_le32(f + at + 4, 77);
	guest_rehash(f, len);
	ok(!refused(f, len, &why), "an unknown chunk that is not required is skipped");
	free(f);
}

static void test_state_only(void)
{
	uint8_t    *f;
	size_t      len = guest_small(&f, 0, SNAP_STATE_ONLY);
	struct fail why;
	uint8_t    *g = calloc(1, len + 65536);
	uint8_t    *full;
	size_t      full_len = guest_small(&full, 0, 0);
	bool        good = !refused(f, len, &why);

	ok(good, "a snapshot without memory is one");
	(void)full_len;
	put_le64(full + 16, SNAP_STATE_ONLY);
	guest_rehash(full, full_len);
	ok(refused(full, full_len, &why) && strstr(why.what, "without memory"),
	   "pages in a snapshot without memory are refused");
	free(f);
	free(g);
	free(full);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_flips();
	test_hostile();
	test_state_only();
	free(batch);
	return done_testing();
}
