/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_CHUNK_LIST_H
#define FORMAT_SNAPSHOT_CHUNK_LIST_H

/* Every chunk type, once: what enum chunk_type, the readers, the writer, moves and messages know of
 * it comes from here (docs/format.md 3, whose table a test compares). A number is never reused.
 *
 * X(constant, number, a reader of its payload in a stream, one in a walk over a file, members of
 * struct chunk_info that are not zero): format/snapshot/chunk_info.h
 *
 * A new optional chunk is a row here, in the order of the numbers, .after = AFTER_ANYTHING; with a
 * function in stream_chunks.c where there is something to check (stream_any: any payload will do).
 * snap_writer_optional() writes it, snap_image_optional() finds it. */
#define CHUNK_LIST(X)										\
	/* VM tree without state: FDT blob */							\
	X(CHUNK_CONFIG, 1, stream_config, image_walk_any, .name = "config",			\
	  .required = true, .moves = true, .after = AFTER_HEADER, .phase = AFTER_CONFIG)	\
	X(CHUNK_PAGES, 2, stream_pages, image_walk_pages, .name = "pages",			\
	  .required = true, .moves = true, .paged = true, .rounds = true,			\
	  .layout = SNAP_CHUNKED, .after = AFTER_CONFIG)					\
	/* a piece of the kernel or initrd */							\
	X(CHUNK_BLOB, 3, stream_blob, image_walk_blob, .name = "blob",				\
	  .required = true, .moves = true, .after = AFTER_CONFIG | AFTER_MEMORY)		\
	/* reserved: pages of a region of kind disk */						\
	X(CHUNK_DISK, 4, stream_any, image_walk_any, .name = "disk",				\
	  .required = true, .paged = true, .rounds = true)					\
	X(CHUNK_ROUND_END, 5, stream_round_end, image_walk_round_end, .name = "round-end",	\
	  .required = true, .rounds = true, .layout = SNAP_CHUNKED, .after = AFTER_CONFIG)	\
	/* a piece of the VM tree with state: FDT blob */					\
	X(CHUNK_STATE, 6, stream_state, image_walk_state, .name = "state",			\
	  .required = true, .moves = true,							\
	  .after = AFTER_CONFIG | AFTER_MEMORY | AFTER_STATE, .phase = AFTER_STATE)		\
	/* reserved: advice to a lazy restore */						\
	X(CHUNK_WORKINGSET, 7, stream_any, image_walk_any, .name = "workingset")		\
	X(CHUNK_INDEX, 8, stream_index, image_walk_any, .name = "index",			\
	  .required = true, .after = AFTER_STATE | AFTER_INDEX, .phase = AFTER_INDEX)		\
	X(CHUNK_END, 9, stream_end, image_walk_any, .name = "end",				\
	  .required = true, .after = AFTER_DIRECTORY, .phase = AFTER_END)			\
	/* MAC by which a host knows what it wrote; more on its order in stream_auth */		\
	X(CHUNK_AUTH, 10, stream_auth, image_walk_any, .name = "auth",				\
	  .after = AFTER_CONFIG | AFTER_MEMORY)							\
	/* first keys of the chunks of the index, and of its levels */				\
	X(CHUNK_INDEX_LEVEL, 11, stream_level, image_walk_any, .name = "index-level",		\
	  .required = true, .after = AFTER_INDEX | AFTER_LEVEL, .phase = AFTER_LEVEL)		\
	/* where the chunks are that hold neither pages nor index */				\
	X(CHUNK_DIRECTORY, 12, stream_directory, image_walk_any, .name = "directory",		\
	  .required = true,									\
	  .after = AFTER_INDEX | AFTER_LEVEL | AFTER_HASHES | AFTER_TABLES | AFTER_DIRECTORY,	\
	  .phase = AFTER_DIRECTORY)								\
	/* digests of a region and its leaves */						\
	X(CHUNK_DIGESTS, 13, stream_digests, image_walk_any, .name = "digests",			\
	  .after = AFTER_STATE)									\
	/* fills space; what it holds is of no account */					\
	X(CHUNK_PAD, 14, stream_any, image_walk_any, .name = "pad", .unhashed = true,		\
	  .after = AFTER_ANYTHING)								\
	/* where a flat snapshot has its memory, which follows it */				\
	X(CHUNK_MAP, 15, stream_map, image_walk_map, .name = "map", .required = true,		\
	  .layout = SNAP_FLAT, .after = AFTER_CONFIG, .phase = AFTER_MEMORY)			\
	/* between the ends of a move only: a JSON message of docs/protocol.md */		\
	X(CHUNK_CONTROL, 16, stream_any, image_walk_any, .name = "control",			\
	  .required = true, .moves = true)							\
	/* reserved: postcopy's page requests and discards */					\
	X(CHUNK_REQUEST, 17, stream_any, image_walk_any, .name = "request")			\
	X(CHUNK_DISCARD, 18, stream_any, image_walk_any, .name = "discard")			\
	/* reserved: keys of encrypted payloads; a signature */					\
	X(CHUNK_KEYS, 19, stream_any, image_walk_any, .name = "keys", .required = true)		\
	X(CHUNK_SIGNATURE, 20, stream_any, image_walk_any, .name = "signature")		\
	/* the hashes of a flat snapshot's data pages */					\
	X(CHUNK_HASHES, 21, stream_hashes, image_walk_any, .name = "hashes", .required = true,	\
	  .layout = SNAP_FLAT, .after = AFTER_INDEX | AFTER_LEVEL | AFTER_HASHES,		\
	  .phase = AFTER_HASHES)

#define CHUNK_CONSTANT(constant, number, ...) constant = (number),
enum chunk_type { CHUNK_LIST(CHUNK_CONSTANT) };
#undef CHUNK_CONSTANT

#endif
