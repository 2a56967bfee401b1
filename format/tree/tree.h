/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_TREE_H
#define FORMAT_TREE_TREE_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The VM tree as a blob from a file or a peer: checked once, as a whole, before libfdt looks
 * anything up in it.
 *
 * libfdt's own check proves that offsets lie inside the blob; it does not bound the work, and it
 * passes blobs that differ in bytes and not in meaning. A tree here is in canonical form
 * (docs/format.md 8, "The blob"): what fdt_finish() and fdt_pack() make. It also has
 * at most TREE_NODES nodes, TREE_PROPS properties, TREE_NODE_PROPS of them in one node,
 * TREE_STRINGS bytes of names, TREE_DEPTH levels, no property above LIMIT_PROP_BYTES, and no two
 * nodes or properties of one name beside each other: two readers can then not see two different
 * machines in it. */
struct XXH3_state_s;      /* xxhash.h */

#define TREE_NODES      16384u
#define TREE_PROPS      131072u
#define TREE_NODE_PROPS 512u
#define TREE_STRINGS    (64u << 10)
#define TREE_DEPTH      8
#define TREE_NAME_MAX   96          /* a node's or property's name, with NUL */
#define TREE_PATH_MAX   256

/* A checked copy, aligned as libfdt wants it; free() it. fdt may have any alignment. FAIL_CORRUPT
 * or FAIL_LIMIT. */
int tree_open(void **out, const void *fdt, size_t len, struct fail *why);

/* The child of that very name, negative: none. fdt_subnode_offset() takes vm@1 for vm, too. */
int tree_child(const void *fdt, int parent, const char *name);

/* One property of a checked tree. A missing one, or one of another length, is FAIL_CORRUPT and
 * names node and property. tree_has: is there, whatever its length. */
bool tree_has(const void *fdt, int node, const char *name);
int tree_u32(const void *fdt, int node, const char *name, uint32_t *v, struct fail *why);
int tree_u64(const void *fdt, int node, const char *name, uint64_t *v, struct fail *why);
/* n u64s, no more, no less */
int tree_cells(const void *fdt, int node, const char *name, uint64_t *v, uint32_t n,
	       struct fail *why);
int tree_bytes(const void *fdt, int node, const char *name, uint8_t *v, size_t len,
	       struct fail *why);
/* Text that fits capacity with its NUL, the NUL at its end and nowhere else. */
int tree_str(const void *fdt, int node, const char *name, char *v, size_t capacity,
	     struct fail *why);
/* Text that is one of n words: its number. */
int tree_word(const void *fdt, int node, const char *name, const char *const *words, unsigned n,
	      unsigned *v, struct fail *why);

/* Takes in what the machine digest covers of a tree, aligned to 8 bytes. FAIL_CORRUPT: no tree. */
int tree_digest(struct XXH3_state_s *x, const void *fdt, size_t len, struct fail *why);

/* fail_set with "VM tree: PATH: " before it. */
int tree_fail(const void *fdt, int node, struct fail *why, enum fail_kind kind, const char *fmt,
	      ...)
	__attribute__((format(printf, 5, 6)));

#endif
