/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_CHUNK_INFO_H
#define FORMAT_SNAPSHOT_CHUNK_INFO_H

#include "format/snapshot/snapshot.h"

/* The table of chunk types, as the readers and the writer use it. Its rows are in chunk_list.h. */

/* How far a snapshot has come: the last chunk that decides what may follow (docs/format.md 1). */
enum chunk_phase {
	AFTER_HEADER    = 1 << 0,
	AFTER_CONFIG    = 1 << 1,      /* the body: pages, images, ends of rounds */
	AFTER_MEMORY    = 1 << 2,      /* of a flat snapshot */
	AFTER_STATE     = 1 << 3,
	AFTER_INDEX     = 1 << 4,
	AFTER_LEVEL     = 1 << 5,
	AFTER_HASHES    = 1 << 6,
	AFTER_TABLES    = 1 << 7,      /* something optional behind the index: no more of it */
	AFTER_DIRECTORY = 1 << 8,
	AFTER_END       = 1 << 9,
	/* where every reader may skip a chunk */
	AFTER_ANYTHING  = AFTER_CONFIG | AFTER_MEMORY | AFTER_STATE | AFTER_INDEX | AFTER_LEVEL |
			  AFTER_HASHES | AFTER_TABLES,
};

struct snap_stream;
struct snap_image;

/* How a reader checks a payload whose header and order have been checked. Of a stream its hash has
 * been, too, and it is in s->payload; a walk over a file reads, and checks by a hash, what it needs
 * of it. */
typedef int chunk_stream_fn(struct snap_stream *s, const struct chunk *c, uint64_t at,
			    struct fail *why);
typedef int chunk_walk_fn(struct snap_image *s, const struct chunk *c, uint64_t at,
			  struct fail *why);

struct chunk_info {
	uint16_t         type;
	const char      *name;        /* in messages: "round-end" */
	bool             required;    /* the flag that a writer sets */
	bool             moves;       /* may be sent in a move */
	bool             paged;       /* has a region, an encoding, and data that is not hashed */
	bool             rounds;      /* its round counts */
	bool             unhashed;    /* no byte of its payload is */
	enum snap_layout layout;      /* the only one that has it; 0: any */
	unsigned         after;       /* phases in which it may come; 0: not in a snapshot */
	enum chunk_phase phase;       /* the phase that it begins, 0: the same goes on */
	chunk_stream_fn *stream;
	chunk_walk_fn   *walk;
};

/* The functions that the rows name: stream_chunks.c, file_walk.c. */
#define CHUNK_READERS(constant, number, stream_reader, walk_reader, ...) \
	chunk_stream_fn stream_reader;                                   \
	chunk_walk_fn   walk_reader;
CHUNK_LIST(CHUNK_READERS)
#undef CHUNK_READERS

/* NULL for a type that this build does not know. */
const struct chunk_info *chunk_info_find(uint16_t type);

/* Checks the fields of a header whose values depend on the type, in a snapshot and in a move:
 * flags, region, encoding, round, how much is hashed. FAIL_CORRUPT. */
int chunk_fields_check(const struct chunk *c, uint64_t at, struct fail *why);
/* May every reader skip it, in a snapshot? */
bool chunk_optional(uint16_t type);
/* May a chunk of this type come in this phase of a snapshot of this layout? */
bool chunk_may_come(uint16_t type, enum snap_layout layout, enum chunk_phase phase);
/* Checks a chunk's header in this phase, its fields too. FAIL_VERSION: it is required, and has no
 * meaning in a snapshot; FAIL_CORRUPT: out of order. One that is unknown and not required may come
 * wherever PAD may. */
int chunk_check(const struct chunk *c, enum snap_layout layout, enum chunk_phase phase,
		uint64_t at, struct fail *why);
/* The phase behind a chunk of this type, which chunk_check has allowed in that phase. */
enum chunk_phase chunk_phase_after(uint16_t type, enum chunk_phase phase);

/* FAIL_CORRUPT: the order. */
int chunk_unexpected(const struct chunk *c, uint64_t at, struct fail *why);

#endif
