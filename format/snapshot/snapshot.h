/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_SNAPSHOT_H
#define FORMAT_SNAPSHOT_SNAPSHOT_H

#include "format/limits.h"
#include "format/snapshot/chunk_list.h"
#include "libcommon/fail.h"
#include "libcommon/hostkey.h"
#include "libcommon/pages.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* The snapshot format (.vms), docs/format.md: what the tools see of it.
 *
 * Functions return 0, or -1 with *why; other values are listed. Of what is read FAIL_CORRUPT says
 * that it is damaged, FAIL_VERSION that this build does not read it, FAIL_LIMIT that it exceeds
 * format/limits.h, each with the byte offset in why->at where there is one; FAIL_SYSTEM is the
 * host's. `at` is the offset of a chunk's header from the snapshot's first byte, for messages
 * (FAIL_NOWHERE: there is none), `what` a name for them. Nothing here is safe for two threads at
 * once on one object. */

#define SNAP_VERSION      1u
#define SNAP_HEADER_BYTES 4096u

enum snap_layout { SNAP_CHUNKED = 1, SNAP_FLAT = 2 };

/* "flat"; NULL for a layout that this build does not know. false: there is none of that name. */
const char *snap_layout_name(enum snap_layout layout);
bool snap_layout_parse(enum snap_layout *layout, const char *name);

/* Required feature bits: a reader that does not know one must refuse. */
#define SNAP_STATE_ONLY ((uint64_t)1 << 0)      /* no region's pages are in it */
#define SNAP_CHAIN      ((uint64_t)1 << 1)      /* reserved: pages may be PAGE_PARENT */
#define SNAP_DISKS      ((uint64_t)1 << 2)      /* reserved: has DISK chunks */

/* --- chunks: also the frames of a move --- */

#define CHUNK_HEADER_BYTES 64u
#define CHUNK_REQUIRED     1u      /* flags: a reader that does not know the type must refuse */

#define CHUNK_PRIVATE      0x8000u /* types from here on are for programs that agree on them */

enum chunk_encoding { CHUNK_RAW = 0, CHUNK_ZSTD = 1 };

/**
 * struct chunk - a chunk's header (docs/format.md 3)
 * @type:     enum chunk_type, or unknown
 * @flags:    CHUNK_REQUIRED or 0
 * @encoding: of the payload's data: enum chunk_encoding
 * @region:   id of the region it is about, else 0; not checked yet
 * @round:    of pages and the ends of rounds, else 0
 * @len:      payload bytes, 0 to LIMIT_CHUNK_BYTES; chunk_padding() bytes follow
 * @hashed:   bytes of the payload that the hash covers, at most @len
 * @sequence: number of the chunk in its snapshot, or of the frame in one direction of a connection
 * @hash:     XXH3-64 of the first @hashed bytes of the payload as stored
 */
struct chunk {
	uint16_t type;
	uint16_t flags;
	uint16_t encoding;
	uint16_t region;
	uint32_t round;
	uint32_t len;
	uint32_t hashed;
	uint64_t sequence;
	uint64_t hash;
};

/* Zeroes behind a payload of that length. */
static inline uint32_t chunk_padding(uint32_t len)
{
	return -len & 7;
}

/* Bytes from its header to the next one. */
static inline uint64_t chunk_bytes(const struct chunk *c)
{
	return CHUNK_HEADER_BYTES + (uint64_t)c->len + chunk_padding(c->len);
}

/* One without region, round and encoding, its payload hashed as a whole. len: at most
 * LIMIT_CHUNK_BYTES. */
struct chunk chunk_of(uint16_t type, uint64_t sequence, size_t len);
/* Computes the payload's hash into *c, and the bytes of the header. */
void chunk_header_put(uint8_t out[CHUNK_HEADER_BYTES], struct chunk *c, const void *payload);

/* Checks magic, header hash, reserved bytes and bounds; not the type. */
int chunk_header_get(struct chunk *c, const uint8_t in[CHUNK_HEADER_BYTES], uint64_t at,
		     struct fail *why);
/* FAIL_CORRUPT: the hashed bytes of payload do not have the hash of the header. */
int chunk_payload_check(const struct chunk *c, const uint8_t *payload, uint64_t at,
			struct fail *why);
/* FAIL_CORRUPT: the bytes behind the payload are not zero. */
int chunk_padding_check(const struct chunk *c, const uint8_t *padding, uint64_t at,
			struct fail *why);

/* "pages"; "unknown" for a type this build has no name for. */
const char *chunk_type_name(uint16_t type);
/* The flags that a writer sets: CHUNK_REQUIRED or 0. */
uint16_t chunk_type_flags(uint16_t type);
/* May it be sent between the ends of a move? */
bool chunk_type_moves(uint16_t type);

/* --- page chunks (docs/format.md 4) --- */

/* The hash of a page, XXH3-64. */
uint64_t page_hash(const uint8_t page[PAGE_SIZE_4K]);

/* Gives the data pages of a batch that have no hash yet theirs. Cheapest while they are still in
 * the cache. */
void page_batch_hash(struct page_batch *b);

#define PAGE_CHUNK_ALIGN 4096u
/* Header, tables, and what aligns the data. */
#define PAGE_CHUNK_HEAD_MAX \
	(CHUNK_HEADER_BYTES + 16 + BATCH_RUNS * 16 + BATCH_PAGES * 8 + PAGE_CHUNK_ALIGN)
/* Bytes of any encoded page chunk. */
#define PAGE_CHUNK_MAX   (PAGE_CHUNK_HEAD_MAX + LIMIT_DATA_BYTES)

/* Holds zstd contexts; one a thread. */
struct page_codec;
int page_codec_open(struct page_codec **out, struct fail *why);
void page_codec_close(struct page_codec *c);
/* Bytes of what page_chunk_pack compressed last; 0: its data are stored raw. */
size_t page_codec_packed(const struct page_codec *c);

/**
 * struct page_chunk_form - how a batch is to be encoded
 * @level:    0 raw; 1 to 19 and negative: zstd's. Data that it does not make smaller is stored raw
 * @round:    number of the round
 * @sequence: of the chunk
 * @align:    raw data is to begin at a multiple of PAGE_CHUNK_ALIGN of the file
 * @at:       file offset of the chunk, for @align
 */
struct page_chunk_form {
	int      level;
	uint32_t round;
	uint64_t sequence;
	bool     align;
	uint64_t at;
};

/**
 * struct page_chunk - an encoded chunk, to be written in two pieces without a copy of the pages
 * @head:     header and tables
 * @head_len: bytes of them
 * @data:     the batch's pages, or the codec's: valid until either is used again
 * @data_len: bytes of it, with the padding behind the payload
 */
struct page_chunk {
	uint8_t        head[PAGE_CHUNK_HEAD_MAX];
	size_t         head_len;
	const uint8_t *data;
	size_t         data_len;
};

/* The two halves of page_chunk_encode: what takes time, and what has to know the chunk's place.
 * page_chunk_pack leaves the compressed data in the codec, for page_chunk_build of that batch. */
int page_chunk_pack(struct page_codec *c, struct page_batch *b, int level, struct fail *why);
void page_chunk_build(struct page_codec *c, const struct page_batch *b,
		      const struct page_chunk_form *f, struct page_chunk *out);

/**
 * page_chunk_encode - make one chunk of a batch
 * @c:   codec
 * @b:   at least one run, runs ascending, kinds PAGE_DATA and PAGE_ZERO; missing hashes are added
 * @f:   how
 * @out: out
 * @why: FAIL_USAGE: batch or level is invalid
 */
int page_chunk_encode(struct page_codec *c, struct page_batch *b, const struct page_chunk_form *f,
		      struct page_chunk *out, struct fail *why);

/**
 * page_chunk_decode - read the payload of a page chunk; it is hostile
 * @c:       codec
 * @h:       its header, checked
 * @payload: h->len bytes; their hash has been checked
 * @at:      offset of the header, for messages
 * @npages:  pages of the region: no run may reach beyond
 * @b:       out, the batch; undefined after a failure. Its pages may be those of @payload
 * @damaged: out, the tables are valid, but the data do not match their hashes (FAIL_CORRUPT); may
 *           be NULL
 * @why:     FAIL_CORRUPT, FAIL_VERSION (pages of a parent), FAIL_LIMIT
 */
int page_chunk_decode(struct page_codec *c, const struct chunk *h, const uint8_t *payload,
		      uint64_t at, uint64_t npages, struct page_batch *b, bool *damaged,
		      struct fail *why);

/* --- digests (docs/format.md 7) --- */

/**
 * struct snap_digests - what identifies a snapshot, XXH3-128
 * @file:    the file as written
 * @memory:  the guest's memory: the same for every layout, level and order of rounds
 * @machine: the machine and its state
 */
struct snap_digests { uint8_t file[16], memory[16], machine[16]; };

/* Which pages there are, by their hashes; the memory digest comes from it. */
struct content;
int content_open(struct content **out, struct fail *why);
void content_close(struct content *c);
/* Each region once, before its pages. id: below LIMIT_REGIONS. */
int content_region(struct content *c, uint32_t id, uint64_t npages, struct fail *why);
/* Notes kinds and hashes of a batch; later ones win. Memory follows the pages with data, not the
 * size of the regions. */
int content_pages(struct content *c, const struct page_batch *b, struct fail *why);
int content_digest(struct content *c, uint8_t memory[16], struct fail *why);

/* --- the header (docs/format.md 2) --- */

/**
 * struct snap_header - what the first 4096 bytes say
 * @version:        of the format
 * @required:       feature bits that a reader must know: SNAP_STATE_ONLY and so on
 * @rewrite:        feature bits that a program must know before it rewrites the snapshot
 * @optional:       feature bits that a reader may ignore
 * @arch:           ELF e_machine of the guest
 * @layout:         how pages are stored
 * @incomplete:     only END proves completeness: it was written to a pipe, or is being written
 * @vm, @snapshot:  UUIDs
 * @parent:         UUID of the parent snapshot, nil for none
 * @parent_memory:  its memory digest
 * @name:           of the VM
 * @creator:        program that wrote it, printable ASCII
 * @created_ns:     since 1970-01-01 00:00 UTC, negative before
 */
struct snap_header {
	uint32_t         version;
	uint64_t         required, rewrite, optional;
	uint32_t         arch;
	enum snap_layout layout;
	bool             incomplete;
	struct uuid      vm, snapshot, parent;
	uint8_t          parent_memory[16];
	char             name[VM_NAME_MAX + 1];
	char             creator[64];
	int64_t          created_ns;
};

/* FAIL_VERSION: a header that this build may not go on from (a later version, features, layout),
 * and *h holds what its frozen offsets say; after other failures *h is of no use. */
int snap_header_read(struct snap_header *h, const uint8_t in[SNAP_HEADER_BYTES], struct fail *why);

/**
 * snap_header_load - read the header's bytes, for snap_header_read or a stream
 * @fd:      read from its offset on
 * @what:    name for messages
 * @named:   @what is a file's name
 * @command: what reads a snapshot from standard input: where the whole is compressed, the message
 *           suggests "zstd -dc WHAT | COMMAND"
 * @out:     out
 * @why:     FAIL_CORRUPT: too short, compressed as a whole, or no snapshot
 */
int snap_header_load(int fd, const char *what, bool named, const char *command,
		     uint8_t out[SNAP_HEADER_BYTES], struct fail *why);

/**
 * snap_agree - do header and configuration tell of one VM? (docs/format.md 8, "Agreement")
 * @h:      header
 * @config: machine of the CONFIG chunk
 * @why:    FAIL_CORRUPT: what differs
 *
 * The readers below ask it before they hand a tree out, and hand no STATE out that does not go with
 * its CONFIG (machine_read_state).
 */
struct machine;
int snap_agree(const struct snap_header *h, const struct machine *config, struct fail *why);

/* --- writing: vmsnap --- */

struct snap_writer;

/**
 * struct snap_writer_options
 * @layout:  0: chunked
 * @level:   of compression: 0 none, 1 to 19 and negative zstd's, SNAP_LEVEL_AUTO: as the sink is
 *           slow; flat: 0
 * @threads: that compress; 0: as many as there are CPUs
 * @align:   raw pages begin at multiples of PAGE_CHUNK_ALIGN in a pipe as well, so that it gets the
 *           bytes that a file would
 */
#define SNAP_LEVEL_AUTO 100
struct snap_writer_options {
	enum snap_layout layout;
	int              level;
	unsigned         threads;
	bool             align;
};

/**
 * snap_writer_open - begin a snapshot
 * @out:   out
 * @fd:    pipe, or file at its offset 0; stays open when the writer is closed. O_DIRECT and
 *         buffering are the writer's business
 * @h:     copied; version, layout and incomplete are set by the writer
 * @o:     NULL: no compression
 * @what:  name for messages
 * @why:   FAIL_USAGE: a regular file that is not empty; flat: anything but an empty regular file,
 *         a level, a snapshot without memory
 *
 * The calls below in the order of docs/format.md 1: configuration, images, pages and ends of
 * rounds, state, end. Another order is FAIL_USAGE. After a failure nothing more can be written.
 */
int snap_writer_open(struct snap_writer **out, int fd, const struct snap_header *h,
		     const struct snap_writer_options *o, const char *what, struct fail *why);
/* Before the configuration: the snapshot is to carry MACs under this key, which is copied. */
void snap_writer_key(struct snap_writer *w, const struct hostkey *k);
/* fdt: the CONFIG tree (machine_write); the regions come from it. */
int snap_writer_config(struct snap_writer *w, const void *fdt, size_t len, struct fail *why);
/* Each once: the image (format/snapshot/images.h) that the configuration records under this name,
 * whole. FAIL_REFUSED: it is another one, or has been written. */
int snap_writer_image(struct snap_writer *w, const char *name, const void *data, uint64_t len,
		      struct fail *why);
/* A batch to fill and to give to snap_writer_pages, which copies any other if it compresses by
 * threads; the batch is lost then. NULL with *why: what was given before could not be written. */
struct page_batch *snap_writer_batch(struct snap_writer *w, struct fail *why);
/* Later copies of a page supersede earlier ones. */
int snap_writer_pages(struct snap_writer *w, struct page_batch *b, struct fail *why);
/* Rounds count from 0; one without pages is left out. The flat layout, where a later copy takes the
 * place of the one before, has none. */
int snap_writer_round_end(struct snap_writer *w, struct fail *why);
/* A chunk that readers may skip, of a type of chunk_list.h or a private one (0x8000 and above).
 * FAIL_USAGE: a type that has a place or a function of its own; FAIL_LIMIT: too long. */
int snap_writer_optional(struct snap_writer *w, uint16_t type, const void *payload, size_t len,
			 struct fail *why);
/* FAIL_LIMIT: the index of what was written so far exceeds LIMIT_INDEX_RUNS. To be asked before the
 * pause: behind it would be too late for the VM's downtime. */
int snap_writer_index_check(struct snap_writer *w, struct fail *why);
/* Before the state, by a program that rewrites a snapshot: these must be the memory and the machine
 * digest, else snap_writer_state fails (FAIL_CORRUPT), before a MAC is made of what differs. */
void snap_writer_expect(struct snap_writer *w, const struct snap_digests *d);
/* fdt: the STATE tree (machine_write_state). */
int snap_writer_state(struct snap_writer *w, const void *fdt, size_t len, struct fail *why);
/* Digests, index, directory and END. In a file also clears INCOMPLETE in the header, and fsyncs. */
int snap_writer_end(struct snap_writer *w, struct snap_digests *out, struct fail *why);
uint64_t snap_writer_bytes(const struct snap_writer *w);
/* Of what was given, at most so many bytes have not been written to a file yet. */
#define SNAP_WRITER_QUEUED (4u << 20)
/* After snap_writer_end. Where time went: compressing, of all threads together; waiting for the
 * file or pipe to take what is there. */
uint64_t snap_writer_encode_ns(const struct snap_writer *w);
uint64_t snap_writer_wait_ns(const struct snap_writer *w);
/* Levels that were used, ascending, and the data pages compressed at each; returns how many. */
#define SNAP_LEVELS 10u
struct snap_level {
	int      level;
	uint64_t pages;
};
unsigned snap_writer_levels(const struct snap_writer *w, struct snap_level out[SNAP_LEVELS]);
void snap_writer_close(struct snap_writer *w);

/* --- reading as a stream: restore, verify --- */

struct snap_stream;

/* Reads and checks the header. */
int snap_stream_open(struct snap_stream **out, int fd, const char *what, struct fail *why);
/* The same when the header has been read from fd already. */
int snap_stream_open_at(struct snap_stream **out, int fd, const uint8_t header[SNAP_HEADER_BYTES],
			const char *what, struct fail *why);
void snap_stream_close(struct snap_stream *s);
const struct snap_header *snap_stream_header(const struct snap_stream *s);
/* A read from a pipe that has stalled is aborted (FAIL_ENDED) once this descriptor is readable. */
void snap_stream_cancel(struct snap_stream *s, int fd);

/**
 * enum snap_auth - who wrote a snapshot, as far as a key tells (docs/format.md 9, "AUTH")
 * @SNAP_AUTH_NONE:    no MAC, or one of an algorithm unknown to this build
 * @SNAP_AUTH_OTHER:   under another key: written on another host or by another user
 * @SNAP_AUTH_ALTERED: names this key, but differs from what was written under it
 * @SNAP_AUTH_OK:      written under this key
 */
enum snap_auth {
	SNAP_AUTH_NONE,
	SNAP_AUTH_OTHER,
	SNAP_AUTH_ALTERED,
	SNAP_AUTH_OK,
};
/* Before the first chunk; the stream keeps a copy. Without it both answers are SNAP_AUTH_NONE. */
void snap_stream_key(struct snap_stream *s, const struct hostkey *k);
/* Of header and configuration, known once the chunk behind CONFIG has been read, and of all, known
 * once END has been. Memory is covered by its XXH3 hashes, which find an accident, not a forger. */
enum snap_auth snap_stream_auth_config(const struct snap_stream *s);
enum snap_auth snap_stream_auth_all(const struct snap_stream *s);

/**
 * snap_stream_next - read the next chunk
 * @s:       stream
 * @c:       out, its header
 * @payload: out, its payload, valid until the next call
 * @at:      out, offset of its header
 * @why:     after a failure every further call fails
 *
 * Hashes, the order of chunks, and what the payload says have been checked; what is unknown and
 * not required is handed out as well. In a regular file nothing may follow END; of a pipe nothing
 * behind it is read or waited for. Memory follows the pages that hold data, not the size of the
 * regions.
 *
 * Return: 1: a chunk; 0: END was read, both digests are right; -1: *@why.
 */
int snap_stream_next(struct snap_stream *s, struct chunk *c, const uint8_t **payload, uint64_t *at,
		     struct fail *why);

/* After a CHUNK_PAGES: its decoded, verified batch. After the CHUNK_MAP of a flat snapshot NULL;
 * then that chunk is handed out again for each piece of memory that has data pages, with a batch of
 * them, which is verified by the tables that follow. Valid until as many further ones have been
 * read as snap_stream_batches says, 1 without it. */
const struct page_batch *snap_stream_batch(const struct snap_stream *s);
/* Before the first chunk. n: 1 to SNAP_STREAM_BATCHES */
#define SNAP_STREAM_BATCHES 4u
void snap_stream_batches(struct snap_stream *s, unsigned n);
/* After a CHUNK_BLOB: its verified piece of an image (format/snapshot/images.h). */
struct image_piece;
const struct image_piece *snap_stream_piece(const struct snap_stream *s);
/* After 0: is the image of this name in the snapshot? */
bool snap_stream_has_image(const struct snap_stream *s, const char *name);
/* The trees' blobs; NULL before they came. */
const uint8_t *snap_stream_config(const struct snap_stream *s, size_t *len);
const uint8_t *snap_stream_state(const struct snap_stream *s, size_t *len);
/* After 0: pages that are of this kind in the end, and the digests. */
uint64_t snap_stream_pages(const struct snap_stream *s, uint32_t region, enum page_kind kind);
const struct snap_digests *snap_stream_digests(const struct snap_stream *s);

/* --- reading a file at random: vminspect --- */

struct snap_image;

/* A regular file: reads header, END, directory and trees, and checks them; pages and what leads to
 * them are checked as they are read, the rest by snap_image_index and snap_image_walk. Takes the
 * time of a few reads, however large the file is. fd stays open, and the caller's. */
int snap_image_open(struct snap_image **out, int fd, const char *what, struct fail *why);
void snap_image_close(struct snap_image *s);
const struct snap_header *snap_image_header(const struct snap_image *s);
const uint8_t *snap_image_config(const struct snap_image *s, size_t *len);
const uint8_t *snap_image_state(const struct snap_image *s, size_t *len);
uint64_t snap_image_bytes(const struct snap_image *s);
/* As END says; only the machine's has been compared. */
const struct snap_digests *snap_image_digests(const struct snap_image *s);

/**
 * snap_image_page - read one page, verified by its hash
 * @s:      file
 * @region: id
 * @page:   number within the region
 * @out:    out, its bytes
 * @kind:   out, PAGE_DATA or PAGE_ZERO; a page that the index does not name is untouched: PAGE_ZERO
 * @why:    FAIL_USAGE: there is no such page; FAIL_REFUSED: a snapshot without memory
 */
int snap_image_page(struct snap_image *s, uint32_t region, uint64_t page,
		    uint8_t out[PAGE_SIZE_4K], enum page_kind *kind, struct fail *why);
/**
 * snap_image_optional - read a chunk that may be skipped, by the directory
 * @s:       file
 * @type:    of the chunk
 * @n:       which of those of the type, from 0
 * @payload: out, its bytes, malloc'd
 * @len:     out
 * @why:     FAIL_CORRUPT
 *
 * Return: 1: a chunk; 0: there are not that many; -1: *@why.
 */
int snap_image_optional(struct snap_image *s, uint16_t type, size_t n, uint8_t **payload,
			size_t *len, struct fail *why);
/**
 * snap_image_next - the next run of the index
 * @s:      file
 * @region: in: where to look; out: of the run
 * @page:   in: likewise; out: the run's first page, or the page asked for, if a run has it
 * @count:  out, pages from @page on to the run's end
 * @kind:   out, PAGE_DATA or PAGE_ZERO
 * @why:    FAIL_CORRUPT
 *
 * Return: 1: a run; 0: none at or behind that page; -1: *@why.
 */
int snap_image_next(struct snap_image *s, uint32_t *region, uint64_t *page, uint64_t *count,
		    enum page_kind *kind, struct fail *why);
/* A flat file: file offset of the region's memory, a multiple of 2 MiB, all of which follows.
 * FAIL_REFUSED: another layout. */
int snap_image_ram(const struct snap_image *s, uint32_t region, uint64_t *offset, struct fail *why);
/* Judges header and configuration, and all of the snapshot, by the MACs in it, as
 * snap_stream_auth_config and snap_stream_auth_all do. Memory is covered by the digest that END
 * states, which is not computed here. */
int snap_image_auth(struct snap_image *s, const struct hostkey *k, enum snap_auth *config,
		    enum snap_auth *all, struct fail *why);
/* Reads kernel and initrd as far as the snapshot has them: hands out their pieces, verified, in the
 * order of the file. An image is whole when fn has had its last piece. */
typedef int snap_image_piece_fn(void *arg, const struct image_piece *piece, struct fail *why);
int snap_image_pieces(struct snap_image *s, snap_image_piece_fn *fn, void *arg, struct fail *why);
/* Reads and checks the whole index. */
int snap_image_index(struct snap_image *s, struct fail *why);
/* Pages of a kind by the index alone, after snap_image_index. */
uint64_t snap_image_pages(const struct snap_image *s, uint32_t region, enum page_kind kind);

/* payload: of PAGES head and tables, of ROUND_END its numbers, checked by their hashes; of others
 * of no use. */
typedef void snap_image_chunk_fn(void *arg, const struct chunk *c, const uint8_t *payload);
/* Calls fn for every chunk before END, in order, and compares the file digest, which covers the
 * chunks' headers, with END's, and the chunks with the directory. Images are read and verified;
 * page data is not read. */
int snap_image_walk(struct snap_image *s, snap_image_chunk_fn *fn, void *arg, struct fail *why);
/* After a walk: is the image of this name (format/snapshot/images.h) in the snapshot? */
bool snap_image_has_image(const struct snap_image *s, const char *name);

#endif
