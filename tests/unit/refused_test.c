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

static void no_chunk(void *arg, const struct chunk *c, const uint8_t *payload)
{
	(void)arg, (void)c, (void)payload;
}

/* Reads all of a file: trees, directory, index, every chunk's header, pages. */
static int file_all(const uint8_t *f, size_t len, struct fail *why)
{
	struct snap_image *s;
	uint8_t            page[4096];
	enum page_kind     kind;
	int                fd = memfd_of(f, len), rc;

	if (snap_image_open(&s, fd, "test", why)) {
		close(fd);
		return -1;
	}
	rc = snap_image_index(s, why) || snap_image_walk(s, no_chunk, NULL, why) ? -1 : 0;
	for (uint64_t p = 0; rc == 0 && !(snap_image_header(s)->required & SNAP_STATE_ONLY) &&
			     p < 8; p++)
		rc = snap_image_page(s, 0, p, page, &kind, why);
	snap_image_close(s);
	close(fd);
	return rc;
}

/* In compressed data, which no hash covers but those of the pages: another frame that holds the
 * same pages is as good (zstd's header has a bit of no meaning, and matches can say the same). */
static bool in_frame(const uint8_t *f, size_t byte)
{
	size_t at = SNAP_HEADER_BYTES;

	if (byte < at)
		return false;
	while (guest_next(f, at) <= byte)
		at = guest_next(f, at);
	return get_le16(f + at + 8) == CHUNK_ZSTD &&
	       byte >= at + CHUNK_HEADER_BYTES + get_le32(f + at + 32) &&
	       byte < at + CHUNK_HEADER_BYTES + get_le32(f + at + 20);
}

static void test_flips(void)
{
	struct fail why;
	uint8_t    *f;
	size_t      len = guest_small(&f, 1, 0), missed = 0, same = 0, tried = 0;
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

		bool seen, frame = in_frame(f, bit / 8);

		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		seen = refused(f, len, &why);
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		same += !seen && frame;
		missed += !seen && !frame;
		if (!seen)
			printf("# bit %zu of byte %zu went unseen\n", bit % 8, bit / 8);
	}
	printf("# %zu of them in a frame that holds the same pages\n", same);
	ok(whole && missed == 0 && same < 8,
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

enum how {
	HASHED = 1,      /* all hashes are right */
	BUILT  = 2,      /* and all else that follows from the chunks */
	STREAM = 4,      /* a file does not show it: what it rests on is not read */
};
#define IN(byte) (CHUNK_HEADER_BYTES + (byte))      /* of the payload */

struct refusal {
	const char *claim;
	uint16_t    chunk;      /* 0: the file's header */
	size_t      at;         /* from the chunk's header */
	size_t      width;
	uint64_t    value;
	const char *says;
	enum how    how;
};

/* docs/format.md 2 */
static const struct refusal header_cases[] = {
	{ "a magic that a text-mode transfer changed is told", 0, 4, 1, '\n', "text-mode", HASHED },
	{ "another magic is no snapshot", 0, 1, 1, 'X', "not a snapshot", HASHED },
	{ "format version 0 is refused", 0, 8, 4, 0, "format version 0", HASHED },
	{ "format version 2 is refused", 0, 8, 4, 2, "format version 2", HASHED },
	{ "another header size is refused", 0, 12, 4, 8192, "header size", HASHED },
	{ "chains are refused", 0, 16, 8, SNAP_CHAIN, "features 0x2", HASHED },
	{ "disks are refused", 0, 16, 8, SNAP_DISKS, "features 0x4", HASHED },
	{ "encryption is refused", 0, 16, 8, 8, "features 0x8", HASHED },
	{ "an unknown required feature is refused", 0, 16, 8, (uint64_t)1 << 63, "features",
	  HASHED },
	{ "another architecture than the machine's is refused", 0, 40, 4, 62, "architecture",
	  HASHED },
	{ "a third layout is refused", 0, 44, 4, 3, "layout 3", HASHED },
	{ "chunks of pages in the flat layout are refused", 0, 44, 4, SNAP_FLAT,
	  "pages chunk: unexpected", HASHED },
	{ "no layout is refused", 0, 44, 4, 0, "layout 0", HASHED },
	{ "unknown header flags are refused", 0, 48, 4, 2, "flags", HASHED },
	{ "another hash algorithm is refused", 0, 52, 2, 2, "hash algorithm", HASHED },
	{ "no hash algorithm is refused", 0, 52, 2, 0, "hash algorithm", HASHED },
	{ "a cipher is refused", 0, 54, 2, 1, "cipher", HASHED },
	{ "another block size is refused", 0, 56, 4, 65536, "block size", HASHED },
	{ "reserved bytes from 60 on must be zero", 0, 60, 1, 1, "reserved", HASHED },
	{ "reserved bytes up to 63 must be zero", 0, 63, 1, 1, "reserved", HASHED },
	{ "another VM than the configuration's is refused", 0, 64, 1, 0x12, "UUID", HASHED },
	{ "reserved bytes from 136 on must be zero", 0, 136, 1, 1, "reserved", HASHED },
	{ "reserved bytes up to 191 must be zero", 0, 191, 1, 1, "reserved", HASHED },
	{ "another name than the configuration's is refused", 0, 192, 1, 'U', "name", HASHED },
	{ "a name with a slash is refused", 0, 193, 1, '/', "VM name", HASHED },
	{ "a name that begins with a dot is refused", 0, 192, 1, '.', "VM name", HASHED },
	{ "bytes behind a name's NUL are refused", 0, 255, 1, 'x', "VM name", HASHED },
	{ "a creator with a control character is refused", 0, 256, 1, 7, "creator", HASHED },
	{ "a creator of 64 characters is refused", 0, 319, 1, 'x', "creator", HASHED },
	{ "reserved bytes from 320 on must be zero", 0, 320, 1, 1, "reserved", HASHED },
	{ "reserved bytes up to 4087 must be zero", 0, 4087, 1, 1, "reserved", HASHED },
};

/* docs/format.md 3 */
static const struct refusal chunk_cases[] = {
	{ "a chunk without the magic is refused", CHUNK_STATE, 0, 1, 'v', "magic",
	  HASHED },
	{ "an unknown flag is refused", CHUNK_STATE, 6, 2, 3, "flags 0x3", BUILT },
	{ "an unknown encoding is refused", CHUNK_PAGES, 8, 2, 2, "encoding", BUILT },
	{ "a cipher is refused in a chunk", CHUNK_PAGES, 10, 2, 1, "cipher", BUILT },
	{ "reserved bytes 14 of a chunk must be zero", CHUNK_PAGES, 14, 2, 256, "reserved",
	  BUILT },
	{ "reserved bytes 36 of a chunk must be zero", CHUNK_PAGES, 36, 4, 1, "reserved", BUILT },
	{ "reserved bytes 48 of a chunk must be zero", CHUNK_PAGES, 55, 1, 1, "reserved", BUILT },
	{ "a chunk longer than the limit is refused", CHUNK_PAGES, 20, 4, LIMIT_CHUNK_BYTES + 1,
	  "exceeds the limit", HASHED },
	{ "a chunk of 2^32-1 bytes is refused", CHUNK_PAGES, 20, 4, UINT32_MAX,
	  "exceeds the limit", HASHED },
	{ "a chunk that reaches past the end is refused", CHUNK_PAGES, 20, 4, LIMIT_CHUNK_BYTES,
	  "", HASHED },
	{ "a hash over more than the payload is refused", CHUNK_STATE, 32, 4, 1 << 20, "covers",
	  HASHED },
	{ "a hash over less than all of the configuration is refused", CHUNK_CONFIG, 32, 4, 8,
	  "covers", BUILT },
	{ "a configuration that is not required is refused", CHUNK_CONFIG, 6, 2, 0, "", BUILT },
	{ "pages that are not required are refused", CHUNK_PAGES, 6, 2, 0, "flags", BUILT },
	{ "digests that are required are refused", CHUNK_DIGESTS, 6, 2, 1, "flags", BUILT },
	{ "a state with a region is refused", CHUNK_STATE, 12, 2, 1, "region", BUILT },
	{ "a state with a round is refused", CHUNK_STATE, 16, 4, 1, "round", BUILT },
	{ "a state with an encoding is refused", CHUNK_STATE, 8, 2, 1, "encoding", BUILT },
	{ "an index with a region is refused", CHUNK_INDEX, 12, 2, 3, "", BUILT },
	{ "a number that is left out is refused", CHUNK_STATE, 24, 8, 77, "sequence", HASHED },
	{ "a configuration with a number is refused", CHUNK_CONFIG, 24, 8, 1, "", HASHED },
	{ "an end with another number is refused", CHUNK_END, 24, 8, 1, "sequence", HASHED },
	{ "an unknown type that is required is refused", CHUNK_DIGESTS, 4, 4, 0x10000 + 999,
	  "unsupported required", BUILT },
	{ "a private type that is required is refused", CHUNK_DIGESTS, 4, 4, 0x10000 + 0x8000,
	  "unsupported required", BUILT },
	{ "a disk is refused by a build without disks", CHUNK_ROUND_END, 4, 4,
	  0x10000 + CHUNK_DISK, "unsupported required chunk: disk", BUILT },
	{ "a map in the chunked layout is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_MAP,
	  "map chunk: unexpected", BUILT },
	{ "hashes in the chunked layout are refused", CHUNK_ROUND_END, 4, 4,
	  0x10000 + CHUNK_HASHES, "hashes chunk: unexpected", BUILT },
	{ "keys are refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_KEYS, "chunk: keys", BUILT },
	{ "a message of a move is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_CONTROL,
	  "chunk: control", BUILT },
	{ "a second configuration is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_CONFIG,
	  "unexpected", BUILT },
	{ "an end in the middle is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_END,
	  "unexpected", HASHED },
	{ "PAD that is required is refused", CHUNK_DIGESTS, 4, 4, 0x10000 + CHUNK_PAD,
	  "unsupported required chunk: pad", BUILT },
	{ "PAD with a hash is refused", CHUNK_DIGESTS, 4, 4, CHUNK_PAD, "covers", BUILT },
};

/* docs/format.md 4: three runs, the first at byte 16, its count at 24, its kind at 28 */
static const struct refusal page_cases[] = {
	{ "a page chunk without runs is refused", CHUNK_PAGES, IN(0), 4, 0, "number of runs",
	  BUILT },
	{ "2^32-1 runs are refused", CHUNK_PAGES, IN(0), 4, UINT32_MAX, "number of runs", BUILT },
	{ "1025 runs are refused", CHUNK_PAGES, IN(0), 4, 1025, "number of runs", BUILT },
	{ "1024 runs that are not there are refused", CHUNK_PAGES, IN(0), 4, 1024, "pages chunk",
	  BUILT },
	{ "513 data pages are refused", CHUNK_PAGES, IN(4), 4, 513, "exceed the limit", BUILT },
	{ "2^32-1 data pages are refused", CHUNK_PAGES, IN(4), 4, UINT32_MAX, "exceed the limit",
	  BUILT },
	{ "a data page less than the runs name is refused", CHUNK_PAGES, IN(4), 4, 1, "", BUILT },
	{ "data that begin at an odd offset are refused", CHUNK_PAGES, IN(8), 4, 81, "sizes",
	  BUILT },
	{ "data within the tables are refused", CHUNK_PAGES, IN(8), 4, 72, "sizes", BUILT },
	{ "data elsewhere than the hash ends are refused", CHUNK_PAGES, IN(8), 4, 88, "sizes",
	  BUILT },
	{ "another data length is refused", CHUNK_PAGES, IN(12), 4, 8184, "sizes", BUILT },
	{ "a gap that is not zero is refused", CHUNK_PAGES, IN(80), 1, 1, "gap", BUILT },
	{ "a hash over half of the tables is refused", CHUNK_PAGES, 32, 4, 40, "sizes", BUILT },
	{ "a run outside its region is refused", CHUNK_PAGES, IN(16 + 32), 8, RAM_PAGES,
	  "out of range", BUILT },
	{ "a run whose end wraps is refused", CHUNK_PAGES, IN(16 + 32), 8, UINT64_MAX,
	  "out of range", BUILT },
	{ "a run of no pages is refused", CHUNK_PAGES, IN(24), 4, 0, "ascending", BUILT },
	{ "a run of 2^32-1 pages is refused", CHUNK_PAGES, IN(24), 4, UINT32_MAX, "out of range",
	  BUILT },
	{ "runs that overlap are refused", CHUNK_PAGES, IN(16 + 16 + 8), 4, 2, "ascending", BUILT },
	{ "runs in descending order are refused", CHUNK_PAGES, IN(16 + 16), 8, 2, "ascending",
	  BUILT },
	{ "a run of kind 0 is refused", CHUNK_PAGES, IN(28), 4, 0, "kind", BUILT },
	{ "a run of kind 4 is refused", CHUNK_PAGES, IN(28), 4, 4, "kind", BUILT },
	{ "a parent's pages are refused", CHUNK_PAGES, IN(28), 4, PAGE_PARENT, "parent", BUILT },
	{ "data pages that no run names are refused", CHUNK_PAGES, IN(28), 4, PAGE_ZERO,
	  "runs list", BUILT },
	{ "pages of a region the configuration lacks are refused", CHUNK_PAGES, 12, 2, 1,
	  "region 1", BUILT },
	{ "pages of region 65535 are refused", CHUNK_PAGES, 12, 2, UINT16_MAX, "region 65535",
	  BUILT },
	{ "raw pages that are said to be compressed are refused", CHUNK_PAGES, 8, 2, 1,
	  "data length", BUILT },
	{ "a hash that is not its page's is refused", CHUNK_PAGES, IN(64), 1, 0xaa, "checksum",
	  BUILT | STREAM },
};

/* docs/format.md 5 */
static const struct refusal round_cases[] = {
	{ "pages of a later round are refused", CHUNK_PAGES, 16, 4, 1, "round 1", BUILT | STREAM },
	{ "pages of round 2^32-1 are refused", CHUNK_PAGES, 16, 4, UINT32_MAX, "round",
	  BUILT | STREAM },
	{ "an end of another round is refused", CHUNK_ROUND_END, 16, 4, 1, "round 0",
	  BUILT | STREAM },
	{ "an end that counts other pages is refused", CHUNK_ROUND_END, IN(0), 8, 4, "round 0",
	  BUILT | STREAM },
	{ "an end that counts other data pages is refused", CHUNK_ROUND_END, IN(8), 8, 3,
	  "round 0", BUILT | STREAM },
	{ "a state that begins later is refused", CHUNK_STATE, IN(0), 4, 8, "next piece", BUILT },
	{ "a state of no bytes is refused", CHUNK_STATE, IN(4), 4, 0, "limit", BUILT },
	{ "a state of less than its piece is refused", CHUNK_STATE, IN(4), 4, 100, "next piece",
	  BUILT },
	{ "a state of more than its pieces is refused", CHUNK_STATE, IN(4), 4, LIMIT_STATE_BYTES,
	  "", BUILT },
	{ "a state above the limit is refused", CHUNK_STATE, IN(4), 4, LIMIT_STATE_BYTES + 1,
	  "limit", BUILT },
	{ "a state of 2^32-1 bytes is refused", CHUNK_STATE, IN(4), 4, UINT32_MAX, "limit",
	  BUILT },
};

/* docs/format.md 6: three runs: 3 data, 4 zero, 5 data */
static const struct refusal index_cases[] = {
	{ "an index of another page is refused", CHUNK_INDEX, IN(8), 8, 2, "", BUILT },
	{ "an index of another region is refused", CHUNK_INDEX, IN(0), 2, 3, "", BUILT },
	{ "an index of region 16 is refused", CHUNK_INDEX, IN(0), 2, 16, "", BUILT },
	{ "an index of another kind is refused", CHUNK_INDEX, IN(2), 2, PAGE_ZERO, "", BUILT },
	{ "an index of a parent's pages is refused", CHUNK_INDEX, IN(2), 2, PAGE_PARENT, "",
	  BUILT },
	{ "an index of another slot is refused", CHUNK_INDEX, IN(4), 2, 1, "", BUILT },
	{ "an index of slot 512 is refused", CHUNK_INDEX, IN(4), 2, 512, "", BUILT },
	{ "reserved bytes of a run must be zero", CHUNK_INDEX, IN(6), 2, 1, "", BUILT },
	{ "an index run of no pages is refused", CHUNK_INDEX, IN(16), 8, 0, "", BUILT },
	{ "an index run of too many pages is refused", CHUNK_INDEX, IN(16), 8, 2, "", BUILT },
	{ "an index run whose end wraps is refused", CHUNK_INDEX, IN(16), 8, UINT64_MAX, "",
	  BUILT },
	{ "an index run of zero pages with a slot is refused", CHUNK_INDEX, IN(32 + 4), 2, 1, "",
	  BUILT },
	{ "an index run of zero pages with a place is refused", CHUNK_INDEX, IN(32 + 24), 8, 4096,
	  "", BUILT },
	{ "an index that names another place is refused", CHUNK_INDEX, IN(24), 8, 4096, "",
	  BUILT },
	{ "an index that names the header is refused", CHUNK_INDEX, IN(24), 8, 0, "", BUILT },
	{ "a directory of another type is refused", CHUNK_DIRECTORY, IN(32), 2, CHUNK_BLOB, "",
	  HASHED },
	{ "a directory of pages is refused", CHUNK_DIRECTORY, IN(32), 2, CHUNK_PAGES, "",
	  HASHED },
	{ "a directory of other flags is refused", CHUNK_DIRECTORY, IN(32 + 2), 2, 0, "", HASHED },
	{ "a directory of another region is refused", CHUNK_DIRECTORY, IN(32 + 4), 2, 1, "",
	  HASHED },
	{ "reserved bytes of an entry must be zero", CHUNK_DIRECTORY, IN(32 + 6), 2, 1, "",
	  HASHED },
	{ "a directory of another round is refused", CHUNK_DIRECTORY, IN(32 + 8), 4, 7, "",
	  HASHED },
	{ "a directory of another length is refused", CHUNK_DIRECTORY, IN(32 + 12), 4, 24, "",
	  HASHED },
	{ "a directory of another number is refused", CHUNK_DIRECTORY, IN(32 + 16), 8, 3, "",
	  HASHED },
	{ "a directory of another place is refused", CHUNK_DIRECTORY, IN(32 + 24), 8, 4104, "",
	  HASHED },
	{ "a directory with another configuration is refused", CHUNK_DIRECTORY, IN(12), 4, 64, "",
	  HASHED },
	{ "a directory with the configuration's number wrong is refused", CHUNK_DIRECTORY, IN(16),
	  8, 1, "", HASHED },
	{ "a directory with another state is refused", CHUNK_DIRECTORY, IN(3 * 32 + 12), 4, 64,
	  "", HASHED },
	{ "a directory with the state's number wrong is refused", CHUNK_DIRECTORY,
	  IN(3 * 32 + 16), 8, 4, "", HASHED },
};

/* docs/format.md 7 */
static const struct refusal end_cases[] = {
	{ "an end of another snapshot is refused", CHUNK_END, IN(0), 8, 3, "UUID", HASHED },
	{ "another memory digest is refused", CHUNK_END, IN(32), 8, 3, "memory digest",
	  HASHED | STREAM },
	{ "another machine digest is refused", CHUNK_END, IN(48), 8, 3, "machine digest",
	  HASHED },
	{ "an index said to be elsewhere is refused", CHUNK_END, IN(64), 8, 4096, "", HASHED },
	{ "an index said to be past the end is refused", CHUNK_END, IN(64), 8, UINT64_MAX, "",
	  HASHED },
	{ "a run less in the index is refused", CHUNK_END, IN(72), 8, 2, "", HASHED },
	{ "2^40 + 1 runs are refused", CHUNK_END, IN(72), 8, ((uint64_t)1 << 40) + 1, "", HASHED },
	{ "2^64-1 runs are refused", CHUNK_END, IN(72), 8, UINT64_MAX, "", HASHED },
	{ "2^40 runs in a small file are refused", CHUNK_END, IN(72), 8, (uint64_t)1 << 40, "",
	  HASHED },
	{ "a directory said to be elsewhere is refused", CHUNK_END, IN(80), 8, 4096, "", HASHED },
	{ "a directory said to be past the end is refused", CHUNK_END, IN(80), 8, UINT64_MAX - 7,
	  "", HASHED },
	{ "a directory without entries is refused", CHUNK_END, IN(88), 8, 0, "", HASHED },
	{ "an entry more is refused", CHUNK_END, IN(88), 8, 7, "", HASHED },
	{ "2^64-1 entries are refused", CHUNK_END, IN(88), 8, UINT64_MAX, "", HASHED },
	{ "2^59 entries are refused", CHUNK_END, IN(88), 8, (uint64_t)1 << 59, "", HASHED },
	{ "another count of chunks is refused", CHUNK_END, IN(96), 8, 3, "", HASHED },
	{ "another length is refused", CHUNK_END, IN(104), 8, 3, "", HASHED },
	{ "hashes counted in the chunked layout are refused", CHUNK_END, IN(112), 8, 1, "",
	  HASHED },
	{ "reserved bytes of the end must be zero", CHUNK_END, IN(120), 1, 1, "reserved", HASHED },
	{ "the last reserved byte of the end must be zero", CHUNK_END, IN(127), 1, 1, "reserved",
	  HASHED },
	{ "digests of another region are refused", CHUNK_DIGESTS, IN(0), 4, 1, "digests chunk",
	  BUILT | STREAM },
	{ "reserved bytes of digests must be zero", CHUNK_DIGESTS, IN(4), 4, 1, "digests chunk",
	  BUILT | STREAM },
	{ "digests of another number of pages are refused", CHUNK_DIGESTS, IN(8), 8, 1,
	  "digests chunk", BUILT | STREAM },
	{ "another digest of a region is refused", CHUNK_DIGESTS, IN(16), 1, 1, "digests chunk",
	  BUILT | STREAM },
	{ "another leaf is refused", CHUNK_DIGESTS, IN(32), 8, 1, "digests chunk",
	  BUILT | STREAM },
	{ "another digest of a leaf is refused", CHUNK_DIGESTS, IN(40), 1, 1, "digests chunk",
	  BUILT | STREAM },
};

static void test_cases(const struct refusal *cases, size_t n)
{
	uint8_t    *f;
	size_t      len = guest_small(&f, 0, 0);
	struct fail why;

	for (size_t i = 0; i < n; i++) {
		const struct refusal *r    = &cases[i];
		size_t                glen = len, at = r->chunk ? guest_find(f, r->chunk) : 0;
		uint8_t              *g = malloc(len);
		bool                  is, placed;

		memcpy(g, f, len);
		for (size_t b = 0; b < r->width; b++)
			g[at + r->at + b] = (uint8_t)(r->value >> (8 * b));
		if (r->how & BUILT)
			guest_rebuild(&g, &glen);
		guest_rehash(g, glen);
		is     = refused(g, glen, &why);
		placed = is && strstr(why.what, r->says);
		ok(placed, r->claim);
		printf("#   %s (at byte %llu)\n", is ? why.what : "accepted",
		       (unsigned long long)why.at);
		is = file_all(g, glen, &why) == -1 && why.has_at;
		if (is == !!(r->how & STREAM))
			ok(false, "by a file too, or rightly not");
		printf("#   file: %s\n", is ? why.what : "accepted");
		free(g);
	}
	ok(!refused(f, len, &why) && file_all(f, len, &why) == 0,
	   "the same file with nothing changed is accepted");
	free(f);
}
#define CASES(of) test_cases(of, sizeof(of) / sizeof((of)[0]))

/* A copy of a snapshot, to be spoilt and judged. */
static uint8_t *copy_of(const uint8_t *f, size_t len)
{
	uint8_t *g = malloc(len);

	memcpy(g, f, len);
	return g;
}

/* Frees it. by_file: a file read at random shows it too. */
static void judge(uint8_t *g, size_t len, const char *says, bool by_file, const char *claim)
{
	struct fail why = { 0 };
	bool        is  = refused(g, len, &why), file;

	printf("#   %s\n", is ? why.what : "accepted");
	if (!says) {
		file = file_all(g, len, &why) == 0;
		ok(!is && file, claim);
		if (!file)
			printf("#   file: %s\n", why.what);
	} else {
		is   = is && strstr(why.what, says);
		file = file_all(g, len, &why) == -1;
		ok(is && file == by_file, claim);
		printf("#   file: %s\n", file ? why.what : "accepted");
	}
	free(g);
}

static void test_rounds(void)
{
	uint8_t      zeroes[16] = { 0 }, *f, *g;
	size_t       len = guest_small(&f, 0, 0), n, end = guest_find(f, CHUNK_ROUND_END);
	struct chunk c = chunk_of(CHUNK_ROUND_END, 0, 16);

	n = len, g = copy_of(f, len);
	guest_remove(&g, &n, end);
	judge(g, n, "round 1, expected 0", false, "a round without an end is refused");
	n = len, g = copy_of(f, len);
	guest_remove(&g, &n, guest_next(f, guest_next(f, end)));
	judge(g, n, "round 1 has no end", false, "the last one without an end, too");
	n = len, g = copy_of(f, len);
	guest_insert(&g, &n, guest_next(f, end), &c, zeroes);
	judge(g, n, "round 1", false, "the end of a round twice is refused");
	n       = len, g = copy_of(f, len);
	c.round = 2;
	guest_insert(&g, &n, guest_find(f, CHUNK_STATE), &c, zeroes);
	judge(g, n, "round 2", false, "the end of a round without pages is refused");
	n = len, g = copy_of(f, len);
	c = chunk_of(CHUNK_ROUND_END, 0, 24);
	guest_remove(&g, &n, end);
	guest_insert(&g, &n, end, &c, f + end + CHUNK_HEADER_BYTES);
	judge(g, n, "round-end chunk", true, "the end of a round with more bytes is refused");
	free(f);
}

/* STATE in pieces that end at the given places; each offset is said to be `off` more. */
static void put_state(uint8_t **f, size_t *len, const size_t *ends, size_t n, uint32_t off)
{
	size_t   at    = guest_find(*f, CHUNK_STATE), from = 0;
	uint8_t *piece = malloc(STATE_PIECE_HEAD + state_len);

	guest_remove(f, len, at);
	for (size_t i = 0; i < n; from = ends[i++]) {
		struct chunk c = chunk_of(CHUNK_STATE, 0, STATE_PIECE_HEAD + ends[i] - from);

		put_le32(piece, (uint32_t)from + (i ? off : 0));
		put_le32(piece + 4, (uint32_t)state_len);
		memcpy(piece + STATE_PIECE_HEAD, state + from, ends[i] - from);
		guest_insert(f, len, at, &c, piece);
		at = guest_next(*f, at);
	}
	free(piece);
}

static void test_state_pieces(void)
{
	const size_t ends[] = { 1, 100, state_len }, twice[] = { 100, state_len, state_len };
	struct chunk pad = chunk_of(CHUNK_PAD, 0, 0), other = { .type = 0x8001 };
	uint8_t     *f, *g;
	size_t       len = guest_small(&f, 0, 0), n, at;

	put_state(&f, &len, ends, 3, 0);
	judge(copy_of(f, len), len, NULL, true, "a state in pieces of any length is accepted");
	at = guest_next(f, guest_find(f, CHUNK_STATE));
	n  = len, g = copy_of(f, len);
	guest_remove(&g, &n, at);
	judge(g, n, "next piece", true, "a piece that is left out is refused");
	n = len, g = copy_of(f, len);
	guest_remove(&g, &n, guest_next(f, at));
	judge(g, n, "unexpected", true, "the last one, too");
	n = len, g = copy_of(f, len);
	guest_insert(&g, &n, at, &pad, "");
	judge(g, n, "unexpected", true, "PAD between two pieces is refused");
	n = len, g = copy_of(f, len);
	guest_insert(&g, &n, at, &other, "");
	judge(g, n, "unexpected", true, "so is what is not known");
	n = len, g = copy_of(f, len);
	put_le32(g + at + IN(4), (uint32_t)state_len + 1);
	guest_rehash(g, n);
	judge(g, n, "next piece", true, "a piece of another length of the whole is refused");
	free(f);
	len = guest_small(&f, 0, 0);
	put_state(&f, &len, ends, 3, 1);
	judge(f, len, "next piece", true, "a gap is refused");
	len = guest_small(&f, 0, 0);
	put_state(&f, &len, ends, 3, UINT32_MAX);
	judge(f, len, "next piece", true, "a repeat is refused");
	len = guest_small(&f, 0, 0);
	put_state(&f, &len, twice, 3, 0);
	judge(f, len, "invalid length", true, "a piece of no bytes is refused");
}

/* PAD and private chunks wherever they may be, and where not. */
static void test_skipped(void)
{
	static const uint8_t junk[13] = "anything";
	struct chunk         c[] = { chunk_of(CHUNK_PAD, 0, 13), chunk_of(0x8000, 0, 13),
				     chunk_of(UINT16_MAX, 0, 0), chunk_of(999, 0, 13),
				     chunk_of(CHUNK_WORKINGSET, 0, 13) };
	uint8_t             *f, *g;
	size_t               len = guest_small(&f, 0, 0), n;
	unsigned             taken = 0, refusals = 0, places = 0;
	struct fail          why;

	c[0].hashed = 0;
	c[3].hashed = 5;      /* of an unknown type any part may be hashed */
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		for (size_t at = SNAP_HEADER_BYTES; at < len; at = guest_next(f, at)) {
			bool may = at > SNAP_HEADER_BYTES && at <= guest_find(f, CHUNK_DIRECTORY);

			n = len, g = copy_of(f, len);
			guest_insert(&g, &n, at, &c[i], junk);
			places += may;
			taken += may && !refused(g, n, &why) && file_all(g, n, &why) == 0;
			refusals += !may && refused(g, n, &why) && file_all(g, n, &why) == -1;
			free(g);
		}
	}
	ok(places >= 5 * 8 && taken == places,
	   "what need not be known is skipped wherever it may be");
	ok(refusals >= 5, "and refused before the configuration and behind the directory");
	free(f);
}

static void test_empty(void)
{
	struct chunk c = chunk_of(CHUNK_CONFIG, 0, 0);
	uint8_t     *f;
	size_t       len = guest_small(&f, 0, 0);

	guest_remove(&f, &len, SNAP_HEADER_BYTES);
	guest_insert(&f, &len, SNAP_HEADER_BYTES, &c, "");
	judge(f, len, "VM tree of 0 bytes", true, "a configuration of no bytes is refused");
}

/* The first round's copy of a page, which the second one has superseded. */
static void test_superseded(void)
{
	uint8_t *f;
	size_t   len = guest_small(&f, 0, 0), index = guest_find(f, CHUNK_INDEX);

	put_le64(f + index + IN(24), guest_find(f, CHUNK_PAGES));
	guest_rehash(f, len);
	judge(f, len, "run 0 mismatch", false, "an index of a superseded copy is refused");
}

static void test_digests(void)
{
	uint8_t     *f, *g;
	size_t       len = guest_small(&f, 0, 0), n, at = guest_find(f, CHUNK_DIGESTS);
	struct chunk c;
	struct fail  why;

	if (chunk_header_get(&c, f + at, 0, &why))
		DIE("digests: %s", why.what);
	n = len, g = copy_of(f, len);
	guest_remove(&g, &n, at);
	judge(g, n, "digests chunk", false, "digests of the second region alone are refused");
	n = len, g = copy_of(f, len);
	guest_remove(&g, &n, guest_next(f, at));
	judge(g, n, "digests chunk missing", false, "digests of the first region alone, too");
	n = len, g = copy_of(f, len);
	guest_remove(&g, &n, at);
	guest_remove(&g, &n, at);
	judge(g, n, NULL, true, "none at all are accepted");
	n = len, g = copy_of(f, len);
	guest_insert(&g, &n, at, &c, f + at + CHUNK_HEADER_BYTES);
	judge(g, n, "digests chunk", false, "those of one region twice are refused");
	free(f);
}

/* The file digest, with all hashes of chunks right. */
static void test_file_digest(void)
{
	uint8_t *f;
	size_t   len = guest_small(&f, 0, 0), at = guest_find(f, CHUNK_END);

	f[at + IN(16)] ^= 1;
	guest_hash(f, len, at);
	judge(f, len, "file digest", true, "another file digest is refused");
}

static void test_state_only(void)
{
	uint8_t *f;
	size_t   len = guest_small(&f, 0, SNAP_STATE_ONLY);

	ok(get_le32(f + guest_find(f, CHUNK_INDEX) + 20) == 0,
	   "a snapshot without memory has an empty index");
	judge(f, len, NULL, true, "and is accepted");
	len = guest_small(&f, 0, 0);
	put_le64(f + 16, SNAP_STATE_ONLY);
	guest_rehash(f, len);
	judge(f, len, "without memory", true, "pages in a snapshot without memory are refused");
	len = guest_small(&f, 0, SNAP_STATE_ONLY);
	put_le64(f + 16, 0);
	guest_rehash(f, len);
	judge(f, len, "memory digest", false, "regions that the memory digest lacks are refused");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	test_flips();
	CASES(header_cases);
	CASES(chunk_cases);
	CASES(page_cases);
	CASES(round_cases);
	CASES(index_cases);
	CASES(end_cases);
	test_rounds();
	test_state_pieces();
	test_skipped();
	test_empty();
	test_superseded();
	test_digests();
	test_file_digest();
	test_state_only();
	free(batch);
	return done_testing();
}
