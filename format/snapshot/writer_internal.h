/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_WRITER_INTERNAL_H
#define FORMAT_SNAPSHOT_WRITER_INTERNAL_H

#include "format/snapshot/chunk_info.h"
#include "format/snapshot/encoder.h"
#include "format/snapshot/flat.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"

/* What writer.c, which writes what it is given, and writer_end.c, which writes what follows from
 * it, share. */

#define WRITER_TABLE 65536u
static_assert(INDEX_CHUNK_RUNS * INDEX_RUN_BYTES <= WRITER_TABLE &&
		      INDEX_LEVEL_KEYS * INDEX_KEY_BYTES <= WRITER_TABLE &&
		      DIRECTORY_ENTRIES * DIRECTORY_ENTRY_BYTES <= WRITER_TABLE &&
		      DIGESTS_MAX <= WRITER_TABLE && HASHES_MAX <= WRITER_TABLE,
	      "a table does not fit");

struct snap_writer {
	struct output      *out;
	struct encoder     *encoder;
	struct content     *content;
	uint64_t            npages[LIMIT_REGIONS];      /* 0: no region, or none with memory */
	struct flat_map     map;                        /* flat: once memory has been begun */
	XXH3_state_t       *digest;
	struct snap_header  header;
	struct snap_end     end;
	uint64_t            runs_most;         /* the index has no more runs than that so far */
	struct index_keys   keys;
	struct directory    directory;
	struct digests      *digests;          /* once no page can come any more */
	uint32_t            round;
	uint64_t            round_pages, round_data;
	enum chunk_phase    phase;
	/* the file is what it is: nothing more goes into it */
	bool                failed;
	uint8_t            *trees[2];          /* configuration, state: for MACs and digests */
	size_t              lens[2];
	struct machine     *machine;           /* as the configuration has it */
	uint64_t            images;            /* written: a bit a host resource of it */
	bool                align;
	bool                expects;
	struct snap_digests expected;         /* memory, machine */
	bool                keyed;
	struct hostkey      key;
	struct page_chunk   chunk;
	uint8_t             table[WRITER_TABLE];      /* payload of any of the tables at the end */
	uint8_t             piece[IMAGE_PIECE_MAX];
};

/* May a chunk of this type come now? */
int writer_ready(const struct snap_writer *w, enum chunk_type type, struct fail *why);
/* Nothing more can be written: -1. */
int writer_failed(struct snap_writer *w);
/* A chunk whose fields are set but for the hash; one of a type that is all payload. */
int writer_chunk_of(struct snap_writer *w, struct chunk *c, const void *payload, struct fail *why);
int writer_chunk(struct snap_writer *w, enum chunk_type type, const void *payload, size_t len,
		 struct fail *why);

/* writer_flat.c: FAIL_USAGE: the output, or what else was asked for, does not go with the layout;
 * the MAP chunk, unless it is there; a batch, its pages hashed, to its place. */
int writer_flat_check(const struct snap_writer *w, const struct snap_writer_options *o,
		      const char *what, struct fail *why);
int writer_flat_begin(struct snap_writer *w, struct fail *why);
int writer_flat_pages(struct snap_writer *w, const struct page_batch *b, struct fail *why);
int writer_flat_hashes(struct snap_writer *w, struct fail *why);
#endif
