/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_SNAPSHOT_INTERNAL_H
#define FORMAT_SNAPSHOT_SNAPSHOT_INTERNAL_H

#include "format/snapshot/snapshot.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

/* What the files of the snapshot format share; docs/format.md is the text they follow. */

/* A hash that was read against one that was computed. The fuzz build accepts any, else every input
 * dies at the first. */
static inline bool hash_same(uint64_t read, uint64_t computed)
{
#ifdef VMFERRY_FUZZ
	(void)read, (void)computed;
	return true;
#else
	return read == computed;
#endif
}

static inline bool digest_same(const uint8_t read[16], const uint8_t computed[16])
{
#ifdef VMFERRY_FUZZ
	(void)read, (void)computed;
	return true;
#else
	return memcmp(read, computed, 16) == 0;
#endif
}

static inline bool bytes_all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* XXH3-128 as its canonical 16 bytes, which print as xxh128sum prints them. */
static inline void digest_put(uint8_t out[16], XXH128_hash_t h)
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, h);
	memcpy(out, c.digest, 16);
}

/* --- header.c: the header and END --- */

#define SNAP_FLAG_INCOMPLETE 1u
#define SNAP_END_PAYLOAD     128u
#define ROUND_END_PAYLOAD    16u
#define STATE_PIECE_HEAD     8u
#define STATE_PIECE_BYTES    ((size_t)1 << 20)
#define SNAP_END_BYTES       (CHUNK_HEADER_BYTES + SNAP_END_PAYLOAD)

void snap_header_put(uint8_t out[SNAP_HEADER_BYTES], const struct snap_header *h);
/* Checks everything; another version, a feature or layout this build does not read is
 * FAIL_VERSION. */
int snap_header_get(struct snap_header *h, const uint8_t in[SNAP_HEADER_BYTES], struct fail *why);

/* The file digest: the header as if complete, then each chunk's header, which names its payload by
 * hash. */
void file_digest_header(XXH3_state_t *x, const uint8_t header[SNAP_HEADER_BYTES]);
void file_digest_chunk(XXH3_state_t *x, const uint8_t header[CHUNK_HEADER_BYTES]);

struct snap_end {
	struct uuid         snapshot;
	struct snap_digests digests;
	uint64_t            index_at, index_runs;      /* first INDEX chunk; runs in all of them */
	uint64_t            directory_at, directory_entries;
	uint64_t            chunks;                    /* before END */
	uint64_t            total;                     /* bytes, END included */
	uint64_t            hashes;                    /* of data pages, in the flat layout */
};

void snap_end_put(uint8_t out[SNAP_END_PAYLOAD], const struct snap_end *e);
int snap_end_get(struct snap_end *e, const uint8_t in[SNAP_END_PAYLOAD], uint64_t at,
		 struct fail *why);

/* --- page_chunk.c --- */

#define PAGE_CHUNK_HEAD      16u      /* before the runs */
#define PAGE_CHUNK_RUN_BYTES 16u
#define PAGE_CHUNK_TABLES    (PAGE_CHUNK_HEAD_MAX - CHUNK_HEADER_BYTES)

/* Head and tables of a page chunk's payload, of which `have` bytes are there (all before the data
 * must be). Fills region, nruns, runs, ndata and hashes of b, which has no pages yet. The offset of
 * the data is h->hashed. */
int page_chunk_tables(const struct chunk *h, const uint8_t *payload, uint32_t have, uint64_t at,
		      uint64_t npages, struct page_batch *b, struct fail *why);

/* The page number of the batch's data page `slot`; UINT64_MAX when it has none. */
uint64_t page_batch_data_page(const struct page_batch *b, uint32_t slot);

/* The data pages of a batch against their hashes, from `first` on. */
int page_batch_verify(const struct page_batch *b, uint32_t first, uint32_t count, uint64_t at,
		      struct fail *why);

/* --- pagemap.c: the latest copy of each page of a region --- */

struct pagemap;

struct pagemap_entry {
	uint64_t hash;
	uint64_t where;      /* chunk's offset << PAGEMAP_SLOT_BITS | data page within the chunk */
};
#define PAGEMAP_SLOT_BITS 9
static_assert(1u << PAGEMAP_SLOT_BITS == BATCH_PAGES, "a slot does not fit");

int pagemap_open(struct pagemap **out, uint64_t npages, struct fail *why);
void pagemap_close(struct pagemap *m);
int pagemap_set_data(struct pagemap *m, uint64_t page, const struct pagemap_entry *e,
		     struct fail *why);
int pagemap_set_zero(struct pagemap *m, uint64_t first, uint64_t count, struct fail *why);
/* The page's kind (0: never named), its entry when it is data, and how many pages from it on are
 * surely of that kind. */
int pagemap_at(const struct pagemap *m, uint64_t page, struct pagemap_entry *e, uint64_t *span);
uint64_t pagemap_pages(const struct pagemap *m);
/* Nodes and bitmap words that all calls of pagemap_set_* have looked at: what a test can bound, as
 * time it can't. */
uint64_t pagemap_steps(const struct pagemap *m);
/* Hands the hashes of each leaf that has data pages to fn, ascending; pages without data have
 * `fill`. */
void pagemap_leaves(const struct pagemap *m, uint64_t fill,
		    void (*fn)(void *arg, uint64_t leaf, const uint64_t hashes[BATCH_PAGES]),
		    void *arg);

/* --- content.c --- */

/* content_pages that also notes where the chunk is; the index comes from it. */
int content_pages_at(struct content *c, const struct page_batch *b, uint64_t chunk_at,
		     struct fail *why);
/* Pages of a region that it has: data pages with these hashes, zero ones. */
int content_set_data(struct content *c, uint32_t region, uint64_t first, uint32_t count,
		     const uint64_t *hashes, struct fail *why);
int content_set_zero(struct content *c, uint32_t region, uint64_t first, uint64_t count,
		     struct fail *why);
/* NULL: no such region */
const struct pagemap *content_map(const struct content *c, uint32_t region);

/* Ids of its regions. */
bool content_has(const struct content *c, uint32_t region);

/* --- digests.c: of regions and leaves, and the DIGESTS chunks that store them --- */

#define DIGESTS_HEAD       32u
#define DIGESTS_LEAF_BYTES 24u
#define DIGESTS_LEAVES     2720u      /* in every chunk of a region but the last */
#define DIGESTS_MAX        (DIGESTS_HEAD + DIGESTS_LEAVES * DIGESTS_LEAF_BYTES)

/* What content_digest is made of, kept. */
struct digests;
int digests_open(struct digests **out, const struct content *c, struct fail *why);
void digests_close(struct digests *d);
const uint8_t *digests_memory(const struct digests *d);
/* How many DIGESTS chunks there are, and the payload of chunk i: its length. */
uint64_t digests_chunks(const struct digests *d);
/* Must chunk i be directly behind the one before it: are they of one region? */
bool digests_follow(const struct digests *d, uint64_t i);
size_t digests_payload(const struct digests *d, uint64_t i, uint8_t out[DIGESTS_MAX]);

/* Of configuration and state, without what is of the host and of the time. */
int digests_machine(uint8_t out[16], const void *config, size_t config_len, const void *state,
		    size_t state_len, struct fail *why);

/* --- index.c --- */

#define INDEX_RUN_BYTES   32u
#define INDEX_CHUNK_RUNS  2048u      /* in every INDEX chunk but the last */

struct index_run {
	uint32_t region;
	/* slot: data page within the chunk of the run's first page */
	uint16_t kind, slot;
	uint64_t first, count;
	/* 0 unless data: offset of the chunk's header; flat: number of the first page's hash */
	uint64_t chunk;
};

void index_run_put(uint8_t out[INDEX_RUN_BYTES], const struct index_run *r);
/* Also checks what one run can show: kind, count, slot. */
int index_run_get(struct index_run *r, const uint8_t in[INDEX_RUN_BYTES], enum snap_layout layout,
		  uint64_t at, struct fail *why);

/* The one right index of what content has seen, run by run. Start with zeroes but for the layout;
 * hash: data pages so far. */
struct index_cursor {
	enum snap_layout layout;
	uint32_t         region;
	uint64_t         page, hash;
};
bool index_next(const struct content *c, struct index_cursor *i, struct index_run *out);

/* --- index_level.c: keys above the index --- */

#define INDEX_KEY_BYTES  16u
#define INDEX_LEVEL_KEYS 4096u       /* in every INDEX_LEVEL chunk of a level but its last */
#define INDEX_LEVELS     4u          /* above LIMIT_INDEX_RUNS runs there would be 4 */

/* Where everything of an index is; level 0 is the index itself. */
struct index_shape {
	unsigned levels;                      /* above the index */
	uint64_t entries[INDEX_LEVELS + 1];   /* runs; keys */
	uint64_t chunks[INDEX_LEVELS + 1];
	uint64_t at[INDEX_LEVELS + 1];        /* file offset of the first chunk */
	uint64_t end;                         /* file offset behind the last */
};
/* index_at: at most 2^62; runs: at most LIMIT_INDEX_RUNS */
void index_shape_of(struct index_shape *s, uint64_t index_at, uint64_t runs);
/* Entries in chunk i of a level, and its file offset. */
uint32_t index_shape_entries(const struct index_shape *s, unsigned level, uint64_t i);
uint64_t index_shape_at(const struct index_shape *s, unsigned level, uint64_t i);

struct index_key { uint32_t region; uint64_t first; };
void index_key_put(uint8_t out[INDEX_KEY_BYTES], const struct index_key *k);
int index_key_get(struct index_key *k, const uint8_t in[INDEX_KEY_BYTES], uint64_t at,
		  struct fail *why);

/* Keys of level 1 as its chunks are written or read; the levels above follow from it. */
struct index_keys {
	struct index_key *v;
	size_t            n, capacity;
};
int index_keys_add(struct index_keys *k, const struct index_run *first, struct fail *why);
void index_keys_free(struct index_keys *k);
/* The payload of chunk i of a level, 1 or above: its length. */
size_t index_level_payload(const struct index_keys *k, const struct index_shape *s, unsigned level,
			   uint64_t i, uint8_t out[INDEX_LEVEL_KEYS * INDEX_KEY_BYTES]);

/* --- directory.c --- */

#define DIRECTORY_ENTRY_BYTES 32u
#define DIRECTORY_ENTRIES     2048u      /* in every DIRECTORY chunk but the last */

struct directory_entry {
	uint16_t type, flags, region;
	uint32_t round, len;
	uint64_t sequence, at;
};
struct directory {
	struct directory_entry *v;
	size_t                  n, capacity;
};
/* Is a chunk of this type listed? */
bool directory_lists(uint16_t type);
int directory_add(struct directory *d, const struct chunk *c, uint64_t at, struct fail *why);
void directory_free(struct directory *d);
void directory_entry_put(uint8_t out[DIRECTORY_ENTRY_BYTES], const struct directory_entry *e);
int directory_entry_get(struct directory_entry *e, const uint8_t in[DIRECTORY_ENTRY_BYTES],
			uint64_t at, struct fail *why);
/* The chunk is the one that the entry describes. */
bool directory_entry_is(const struct directory_entry *e, const struct chunk *c, uint64_t at);

/* --- output.c: where a writer's bytes go --- */

struct iovec;
struct output;
/* fd: at the offset where the snapshot begins. A fresh regular file is written in large aligned
 * pieces past the page cache where the file system lets us, anything else plainly. */
int output_open(struct output **out, int fd, const char *what, struct fail *why);
void output_close(struct output *o);                       /* what is still buffered is lost */
#define OUTPUT_VECTORS 3
/* n: at most OUTPUT_VECTORS. The bytes are the caller's again when it returns. A failure of earlier
 * bytes may be reported by a later call. */
int output_write(struct output *o, const struct iovec *v, int n, struct fail *why);
/* A fresh file, for bytes at offsets of the caller's choice; NULL: it is none, and bytes at aligned
 * offsets would not help its readers. */
struct output_file *output_fresh(const struct output *o);
/* Of a fresh file: output_write goes on at that offset, not below the present one. */
void output_skip(struct output *o, uint64_t to);
/* Where the next bytes go: given so far, buffered ones too. */
uint64_t output_bytes(const struct output *o);
uint64_t output_wait_ns(const struct output *o);           /* time that callers have waited */
/* Everything to fd; a regular file is fsynced, and when it is a fresh one its first len bytes are
 * replaced and fsynced. */
int output_finish(struct output *o, const void *head, size_t len, struct fail *why);

/* --- images.c: BLOB chunks, as the readers take them in --- */

struct images_reader;
struct image_piece;

/* A BLOB chunk at `at`, its payload hash checked: images_reader_piece. */
int images_chunk(struct images_reader *r, const struct chunk *c, const uint8_t *payload,
		 uint64_t at, struct image_piece *out, struct fail *why);
/* The STATE chunk is at `at`: images_reader_end. */
int images_end(const struct images_reader *r, uint64_t at, struct fail *why);

/* --- agree.c: the trees as a reader takes them in --- */

struct machine;

/* The CONFIG chunk at `at`: its machine, which agrees with the header (NULL: not looked at), to be
 * freed, and the sizes of its regions in pages by id, 0 for none. */
int agree_config(const struct snap_header *h, const void *fdt, size_t len, uint64_t at,
		 struct machine **out, uint64_t npages[LIMIT_REGIONS], struct fail *why);
/* The STATE chunk at `at`: it agrees with the configuration. */
int agree_state(const struct machine *config, const void *fdt, size_t len, uint64_t at,
		struct fail *why);

#endif
