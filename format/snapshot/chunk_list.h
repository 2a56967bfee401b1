/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_CHUNK_LIST_H
#define FORMAT_SNAPSHOT_CHUNK_LIST_H

/* Every chunk type, once: what enum chunk_type, the readers, the writer, moves and messages know of
 * it comes from here (docs/format.md 3, whose table a test compares). A number is never reused.
 *
 * X(constant, number, members of struct chunk_info that are not zero): format/snapshot/chunk_info.h
 *
 * A new optional chunk is a row here, in the order of the numbers, and a function that checks its
 * payload in stream_chunks.c, where there is something to check. */
#define CHUNK_LIST(X)                                                                           \
	/* VM tree without state: FDT blob */                                                   \
	X(CHUNK_CONFIG, 1, .name = "config", .required = true, .moves = true,                   \
	  .after = AFTER_HEADER, .phase = AFTER_CONFIG, .stream = stream_config)                \
	X(CHUNK_PAGES, 2, .name = "pages", .required = true, .moves = true, .regional = true,   \
	  .after = AFTER_CONFIG, .stream = stream_pages, .walk = image_walk_pages)              \
	/* a piece of the kernel or initrd */                                                   \
	X(CHUNK_BLOB, 3, .name = "blob", .required = true, .moves = true,                       \
	  .after = AFTER_CONFIG, .stream = stream_blob, .walk = image_walk_blob)                \
	/* reserved: pages of a region of kind disk */                                          \
	X(CHUNK_DISK, 4, .name = "disk", .required = true, .regional = true)                    \
	X(CHUNK_ROUND_END, 5, .name = "round-end",                                              \
	  .after = AFTER_CONFIG, .stream = stream_round_end, .walk = image_walk_round_end)      \
	/* VM tree with state: FDT blob */                                                      \
	X(CHUNK_STATE, 6, .name = "state", .required = true, .moves = true,                     \
	  .after = AFTER_CONFIG, .phase = AFTER_STATE, .stream = stream_state,                  \
	  .walk = image_walk_state)                                                             \
	/* advice to a lazy restore; this build writes none */                                  \
	X(CHUNK_WORKINGSET, 7, .name = "workingset",                                            \
	  .after = AFTER_STATE, .phase = AFTER_WORKINGSET, .stream = stream_workingset)         \
	X(CHUNK_INDEX, 8, .name = "index", .required = true,                                    \
	  .after = AFTER_STATE | AFTER_WORKINGSET | AFTER_INDEX, .phase = AFTER_INDEX,          \
	  .stream = stream_index)                                                               \
	X(CHUNK_END, 9, .name = "end", .required = true,                                        \
	  .after = AFTER_INDEX, .phase = AFTER_END, .stream = stream_end)                       \
	/* MAC by which a host knows what it wrote; more on its order in stream_auth */         \
	X(CHUNK_AUTH, 10, .name = "auth", .after = AFTER_CONFIG, .stream = stream_auth)         \
	/* between the ends of a move only: a JSON message of docs/protocol.md */               \
	X(CHUNK_CONTROL, 16, .name = "control", .required = true, .moves = true)                \
	/* reserved: postcopy's page requests and discards */                                   \
	X(CHUNK_REQUEST, 17, .name = "request")                                                 \
	X(CHUNK_DISCARD, 18, .name = "discard")

#define CHUNK_CONSTANT(constant, number, ...) constant = (number),
enum chunk_type { CHUNK_LIST(CHUNK_CONSTANT) };
#undef CHUNK_CONSTANT

#endif
