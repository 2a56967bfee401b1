/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_CHUNK_LIST_H
#define FORMAT_SNAPSHOT_CHUNK_LIST_H

/* Every chunk type, once: what enum chunk_type, the readers, the writer, moves and messages know of
 * it comes from here (docs/format.md 3, whose table a test compares). A number is never reused.
 *
 * X(constant, number, a reader of its payload in a stream, one in a walk over a file, members of
 * struct chunk_info that are not zero): format/snapshot/chunk_info.h
 *
 * A new optional chunk is a row here, in the order of the numbers, and a function in
 * stream_chunks.c where there is something to check (stream_any: any payload will do). */
#define CHUNK_LIST(X)                                                                           \
	/* VM tree without state: FDT blob */                                                   \
	X(CHUNK_CONFIG, 1, stream_config, image_walk_any, .name = "config",                     \
	  .required = true, .moves = true, .after = AFTER_HEADER, .phase = AFTER_CONFIG)        \
	X(CHUNK_PAGES, 2, stream_pages, image_walk_pages, .name = "pages",                      \
	  .required = true, .moves = true, .regional = true, .after = AFTER_CONFIG)             \
	/* a piece of the kernel or initrd */                                                   \
	X(CHUNK_BLOB, 3, stream_blob, image_walk_blob, .name = "blob",                          \
	  .required = true, .moves = true, .after = AFTER_CONFIG)                               \
	/* reserved: pages of a region of kind disk */                                          \
	X(CHUNK_DISK, 4, stream_any, image_walk_any, .name = "disk",                            \
	  .required = true, .regional = true)                                                   \
	X(CHUNK_ROUND_END, 5, stream_round_end, image_walk_round_end, .name = "round-end",      \
	  .after = AFTER_CONFIG)                                                                \
	/* VM tree with state: FDT blob */                                                      \
	X(CHUNK_STATE, 6, stream_state, image_walk_state, .name = "state",                      \
	  .required = true, .moves = true, .after = AFTER_CONFIG, .phase = AFTER_STATE)         \
	/* advice to a lazy restore; this build writes none */                                  \
	X(CHUNK_WORKINGSET, 7, stream_workingset, image_walk_any, .name = "workingset",         \
	  .after = AFTER_STATE, .phase = AFTER_WORKINGSET)                                      \
	X(CHUNK_INDEX, 8, stream_index, image_walk_any, .name = "index",                        \
	  .required = true, .after = AFTER_STATE | AFTER_WORKINGSET | AFTER_INDEX,              \
	  .phase = AFTER_INDEX)                                                                 \
	X(CHUNK_END, 9, stream_end, image_walk_any, .name = "end",                              \
	  .required = true, .after = AFTER_INDEX, .phase = AFTER_END)                           \
	/* MAC by which a host knows what it wrote; more on its order in stream_auth */         \
	X(CHUNK_AUTH, 10, stream_auth, image_walk_any, .name = "auth", .after = AFTER_CONFIG)   \
	/* between the ends of a move only: a JSON message of docs/protocol.md */               \
	X(CHUNK_CONTROL, 16, stream_any, image_walk_any, .name = "control",                     \
	  .required = true, .moves = true)                                                      \
	/* reserved: postcopy's page requests and discards */                                   \
	X(CHUNK_REQUEST, 17, stream_any, image_walk_any, .name = "request")                     \
	X(CHUNK_DISCARD, 18, stream_any, image_walk_any, .name = "discard")

#define CHUNK_CONSTANT(constant, number, ...) constant = (number),
enum chunk_type { CHUNK_LIST(CHUNK_CONSTANT) };
#undef CHUNK_CONSTANT

#endif
