/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_STREAM_INTERNAL_H
#define FORMAT_SNAPSHOT_STREAM_INTERNAL_H

#include "format/snapshot/auth.h"
#include "format/snapshot/chunk_info.h"
#include "format/snapshot/flat.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"

#include <sys/types.h>

/* What stream.c, which reads, and stream_chunks.c and stream_flat.c, which judge what was read,
 * share. */

#define STREAM_TABLE 65536u
static_assert(INDEX_LEVEL_KEYS * INDEX_KEY_BYTES <= STREAM_TABLE && DIGESTS_MAX <= STREAM_TABLE &&
		      HASHES_MAX <= STREAM_TABLE,
	      "a table does not fit");

/* Where a page chunk is read to: batch->pages may point into the payload. */
struct stream_slot {
	struct page_batch *batch;
	uint8_t           *payload;
};

struct snap_stream {
	int                   fd, cancel;        /* cancel: -1 for none */
	off_t                 begin;             /* offset of a regular file; else -1 */
	off_t                 start;             /* likewise, while seeks */
	bool                  seeks;             /* holes of the file can be passed over */
	uint64_t              ahead;             /* bytes asked to be read ahead */
	char                  what[256];
	struct snap_header    header;
	uint64_t              pos;               /* bytes read */
	enum chunk_phase      phase;
	bool                  broken;            /* a failure: nothing behind it can be trusted */
	uint64_t              npages[LIMIT_REGIONS];
	struct content       *content;
	struct page_codec    *codec;
	XXH3_state_t         *digest;
	uint8_t              *payload;
	size_t                capacity;
	uint8_t              *trees[2];          /* configuration, state */
	size_t                lens[2];
	struct machine       *machine;           /* as the configuration has it */
	bool                  keyed;
	struct hostkey        key;
	enum snap_auth        auth_config, auth_all;
	bool                  auth_last;         /* the state has to follow now */
	uint8_t               auth[AUTH_BYTES];  /* it; zeroes: none */
	struct snap_end       seen;              /* what END has to say */
	uint32_t              round;
	uint64_t              round_pages, round_data;
	size_t                state_have;        /* bytes of trees[1] that have come */
	/* What the tables at the end must say, and how much of each has come. */
	struct digests       *digests;           /* from the state on */
	uint64_t              digest_chunks;
	uint64_t              digests_differ;    /* flat: offset of the first that does; 0: none */
	struct index_cursor   cursor;
	struct index_keys     keys;
	struct index_shape    shape;             /* once the index is complete */
	bool                  shaped;
	unsigned              level;             /* the one that comes next, and its chunk */
	uint64_t              level_chunk;
	/* Flat: the MAP chunk, and how far its memory has been read. */
	struct flat_map       map;
	struct chunk          flat_chunk;
	uint64_t              flat_at;
	bool                  flat_memory;       /* there is more of it */
	uint32_t              flat_region;
	struct index_run      index_last;
	struct hashes_cursor  hashes;
	struct directory      directory;
	uint64_t              finals[LIMIT_REGIONS][PAGE_PARENT + 1];
	bool                  have_batch;
	struct images_reader *images;            /* once the configuration has come */
	bool                  have_piece;
	struct image_piece    piece;
	unsigned              nslots, slot;      /* of page chunks; the last one that was read */
	struct stream_slot    slots[SNAP_STREAM_BATCHES];
	/* From here on not zeroed when opened. */
	uint8_t               table[STREAM_TABLE];
};

/* The next len bytes of the stream. */
int stream_read(struct snap_stream *s, void *buf, size_t len, struct fail *why);

/* stream_chunks.c: the next slot for a batch; NULL with *why. No INDEX chunk follows: none is
 * missing. */
struct stream_slot *stream_slot(struct snap_stream *s, struct fail *why);
int stream_index_end(struct snap_stream *s, uint64_t at, struct fail *why);

/* stream_flat.c: the next pages of a flat snapshot's memory, as a batch if there are data pages
 * among them. n runs of an INDEX chunk: takes the zero pages in, which only the index names. */
int stream_memory(struct snap_stream *s, struct fail *why);
int stream_index_zeroes(struct snap_stream *s, uint32_t n, uint64_t at, struct fail *why);

#endif
