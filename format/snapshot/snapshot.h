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

/* The snapshot format (.vms), docs/format.md. This header is what the tools see of it. */

#define SNAP_VERSION      0u
#define SNAP_HEADER_BYTES 4096u

enum snap_layout { SNAP_CHUNKED = 1, SNAP_FLAT = 2 };

/* Required feature bits: a reader that does not know one must refuse. */
#define SNAP_STATE_ONLY ((uint64_t)1 << 0)      /* no region's pages are in it */
#define SNAP_CHAIN      ((uint64_t)1 << 1)      /* reserved: needs its parent; pages may be PAGE_PARENT */
#define SNAP_DISKS      ((uint64_t)1 << 2)      /* reserved: has DISK chunks */

/* --- chunks: also the frames of the wire --- */

#define CHUNK_HEADER_BYTES 48u
#define CHUNK_REQUIRED     1u      /* flags: a reader that does not know the type must refuse */

struct chunk {
	uint16_t type;
	uint16_t flags;
	uint16_t encoding;          /* of the payload's data: 0 raw, 1 zstd */
	uint32_t region;
	uint32_t len;               /* payload bytes, at most LIMIT_CHUNK_BYTES */
	uint64_t hash;              /* XXH3-64 of the payload as stored */
};

/* Fills the 48 bytes, computing both hashes. */
void chunk_header_put(uint8_t out[CHUNK_HEADER_BYTES], uint16_t type, uint16_t flags, uint16_t encoding, uint32_t region,
		      const void *payload, uint32_t len);
/* Checks magic, header hash and bounds; `at` is the header's place for messages. */
int chunk_header_get(struct chunk *c, const uint8_t in[CHUNK_HEADER_BYTES], uint64_t at, struct fail *why);
int chunk_payload_check(const struct chunk *c, const uint8_t *payload, uint64_t at, struct fail *why);
/* "pages"; "unknown" for a type this build has no name for. */
const char *chunk_type_name(uint16_t type);
/* The flags that a writer sets: CHUNK_REQUIRED or 0. */
uint16_t chunk_type_flags(uint16_t type);
/* May it be sent between the ends of a move? */
bool chunk_type_moves(uint16_t type);

/* --- page chunks --- */

/* Room for any encoded page chunk, header included. */
size_t page_chunk_capacity(void);
/* Encodes the batch as one chunk (header and payload) into out; level 0 is raw, 1 to 19 and negative are zstd's (raw
 * where zstd gains nothing). hashes (may be NULL): XXH3-64 of each data page in order, BATCH_PAGES long. */
struct page_codec;
int page_codec_open(struct page_codec **out, struct fail *why);      /* holds zstd contexts; one a thread */
void page_codec_close(struct page_codec *c);
int page_chunk_encode(struct page_codec *c, const struct page_batch *b, int level, uint8_t *out, size_t *len, uint64_t *hashes, struct fail *why);
/* Decodes a payload whose chunk header and hash have been checked; every run and every page hash is verified; npages is
 * the region's size in pages. b is undefined after a failure. A wrong page hash is FAIL_CORRUPT with *bad_page set
 * (else UINT64_MAX); bad_page may be NULL. */
int page_chunk_decode(struct page_codec *c, const struct chunk *h, const uint8_t *payload, uint64_t at, uint64_t npages,
		      struct page_batch *b, uint64_t *bad_page, struct fail *why);

/* --- content digest: the same for every layout, level and round order --- */

struct content;
int content_open(struct content **out, struct fail *why);
void content_close(struct content *c);
int content_region(struct content *c, uint32_t id, uint64_t npages, struct fail *why);
/* Notes kinds and hashes of a batch; later ones win. */
int content_pages(struct content *c, const struct page_batch *b, const uint64_t *hashes, struct fail *why);
int content_digest(struct content *c, const void *config, size_t config_len, const void *state, size_t state_len, uint8_t out[16], struct fail *why);

/* --- the header --- */

struct snap_header {
	uint32_t         version;
	uint64_t         required, optional;      /* feature bits */
	uint32_t         arch;                    /* ELF e_machine */
	enum snap_layout layout;
	bool             incomplete;
	struct uuid      vm, snapshot, parent;    /* parent nil when there is none */
	uint8_t          parent_content[16];
	char             name[VM_NAME_MAX + 1];
	char             creator[64];
	uint64_t         created_ns;              /* since 1970 */
};

/* The header alone. FAIL_VERSION: a header that this build may not go on from (a later version, features, layout), and *h
 * holds what its frozen offsets say; after other failures *h is of no use. */
int snap_header_read(struct snap_header *h, const uint8_t in[SNAP_HEADER_BYTES], struct fail *why);

/* The header's bytes from fd, to be looked at by snap_header_read or a stream. What is too short,
 * or compressed as a whole, is FAIL_CORRUPT; then the message says how command takes it: "zstd -dc
 * WHAT | COMMAND". named: what is a file's name. */
int snap_header_load(int fd, const char *what, bool named, const char *command,
		     uint8_t out[SNAP_HEADER_BYTES], struct fail *why);

/* Do header, configuration and state tell of one VM? The readers below ask it before they hand a
 * tree out; a state that comes alone is compared with the configuration that came before it. h and
 * state may be NULL. FAIL_CORRUPT names what differs. */
struct machine;
int snap_agree(const struct snap_header *h, const struct machine *config,
	       const struct machine *state, struct fail *why);

/* --- writing, for vmsnap --- */

struct snap_writer;
/* Writes to fd from its current place 0: a pipe or a fresh file. O_DIRECT and buffering are its business. h->version,
 * layout and incomplete are set by the writer. */
int snap_writer_open(struct snap_writer **out, int fd, const struct snap_header *h, int level, const char *what, struct fail *why);
/* Before the configuration: the snapshot is to carry MACs under this key, which is copied. */
void snap_writer_key(struct snap_writer *w, const struct hostkey *k);
int snap_writer_config(struct snap_writer *w, const void *fdt, size_t len, struct fail *why);   /* first; regions come from it */
/* Directly behind the configuration, each once: the image (format/snapshot/images.h) that the configuration
 * records under this name, whole. FAIL_REFUSED: it is another one, or has been written. */
int snap_writer_image(struct snap_writer *w, const char *name, const void *data, uint64_t len,
		      struct fail *why);
int snap_writer_pages(struct snap_writer *w, const struct page_batch *b, struct fail *why);
int snap_writer_round_end(struct snap_writer *w, uint32_t round, struct fail *why);
/* Is the index of what was written so far within LIMIT_INDEX_RUNS? To be asked before the pause. */
int snap_writer_index_check(struct snap_writer *w, struct fail *why);
int snap_writer_state(struct snap_writer *w, const void *fdt, size_t len, struct fail *why);
/* Index and END. In a file also clears INCOMPLETE in the header and fsyncs. content: the content digest. */
int snap_writer_end(struct snap_writer *w, uint8_t content[16], struct fail *why);
uint64_t snap_writer_bytes(const struct snap_writer *w);
void snap_writer_close(struct snap_writer *w);     /* fd stays open */

/* --- reading as a stream: restore from a pipe, verify --- */

struct snap_stream;
int snap_stream_open(struct snap_stream **out, int fd, const char *what, struct fail *why);    /* reads and checks the header */
/* The same when the header has been read from fd already. */
int snap_stream_open_at(struct snap_stream **out, int fd, const uint8_t header[SNAP_HEADER_BYTES], const char *what, struct fail *why);
const struct snap_header *snap_stream_header(const struct snap_stream *s);
/* Reads from a pipe that has stalled are given up (FAIL_ENDED) once the descriptor is readable. */
void snap_stream_cancel(struct snap_stream *s, int fd);
/* Who wrote it, as far as this key tells. The stream keeps a copy. */
enum snap_auth {
	SNAP_AUTH_NONE,         /* no MAC, or of a kind unknown to this build */
	SNAP_AUTH_OTHER,        /* under another key: written on another host or by another user */
	SNAP_AUTH_ALTERED,      /* said to be under this key, but not what was written under it */
	SNAP_AUTH_OK,
};
void snap_stream_key(struct snap_stream *s, const struct hostkey *k);
/* Of header and configuration, known once the chunk behind CONFIG has been read, and of all, known
 * once END has been. Memory is covered by its XXH3 hashes, which find an accident, not a forger. */
enum snap_auth snap_stream_auth_config(const struct snap_stream *s);
enum snap_auth snap_stream_auth_all(const struct snap_stream *s);
/* The next chunk, header and payload hash checked, order checked against the grammar; *payload valid until the next
 * call; *at its header's place. 1: a chunk; 0: END was read, both digests verified; -1: *why. In a regular file
 * nothing may follow END; of a pipe nothing behind it is read or waited for. The
 * running digests are kept by the stream itself (page chunks are decoded inside: see snap_stream_batch). */
int snap_stream_next(struct snap_stream *s, struct chunk *c, const uint8_t **payload, uint64_t *at, struct fail *why);
/* After a CHUNK_PAGES: its decoded, verified batch. */
const struct page_batch *snap_stream_batch(const struct snap_stream *s);
/* After a CHUNK_BLOB: its verified piece of an image (format/snapshot/images.h). */
struct image_piece;
const struct image_piece *snap_stream_piece(const struct snap_stream *s);
/* After 0: is the image of this name in the snapshot? */
bool snap_stream_has_image(const struct snap_stream *s, const char *name);
const uint8_t *snap_stream_config(const struct snap_stream *s, size_t *len);
const uint8_t *snap_stream_state(const struct snap_stream *s, size_t *len);     /* NULL before it came */
uint64_t snap_stream_pages(const struct snap_stream *s, uint32_t region, enum page_kind kind);   /* final pages of a kind */
void snap_stream_digests(const struct snap_stream *s, uint8_t file[16], uint8_t content[16]);    /* after 0 */
void snap_stream_close(struct snap_stream *s);

/* --- random access: vminspect mem, lazy restore --- */

struct snap_image;
int snap_image_open(struct snap_image **out, int fd, const char *what, struct fail *why);   /* header, END, index, trees */
const struct snap_header *snap_image_header(const struct snap_image *s);
const uint8_t *snap_image_config(const struct snap_image *s, size_t *len);
const uint8_t *snap_image_state(const struct snap_image *s, size_t *len);
uint64_t snap_image_bytes(const struct snap_image *s);
void snap_image_digests(const struct snap_image *s, uint8_t file[16], uint8_t content[16]);
/* One page, verified against its hash. A page the index does not name is untouched: zero, *kind PAGE_ZERO. */
int snap_image_page(struct snap_image *s, uint32_t region, uint64_t page, uint8_t out[PAGE_SIZE_4K], enum page_kind *kind, struct fail *why);
/* Pages of a kind by the index alone. */
uint64_t snap_image_pages(const struct snap_image *s, uint32_t region, enum page_kind kind);
/* Every chunk before END, in order. payload: of PAGES head and tables, of ROUND_END its number,
 * checked by their hashes; of no other use. The file digest, which covers the chunks' headers, is
 * compared with END's. Images are read and verified. */
typedef void snap_image_chunk_fn(void *arg, const struct chunk *c, const uint8_t *payload);
int snap_image_walk(struct snap_image *s, snap_image_chunk_fn *fn, void *arg, struct fail *why);
/* After a walk: is the image of this name (format/snapshot/images.h) in the snapshot? */
bool snap_image_has_image(const struct snap_image *s, const char *name);
void snap_image_close(struct snap_image *s);

#endif
