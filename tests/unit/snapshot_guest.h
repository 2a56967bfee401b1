/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SNAPSHOT_GUEST_H
#define TESTS_UNIT_SNAPSHOT_GUEST_H

/* What the tests of the snapshot format share: a small made-up guest and snapshots of it. */
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"
#include "libcommon/bytes.h"

#include <stdio.h>
#include <stdlib.h>

#define DIE(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

uint64_t rng(void);                     /* seeded by a constant */

/* Regions 0 and 3 of the configuration. */
#define RAM_PAGES  2048u
#define VRAM_PAGES 600u

extern uint8_t config[LIMIT_TREE_BYTES];      /* a VM tree, once guest_make has been called */
extern size_t  config_len;
extern uint8_t state[];
extern size_t  state_len;
extern struct page_batch *batch;

/* What each page is at the end; a page not touched is not written. */
extern uint8_t ram[RAM_PAGES][4096], vram[VRAM_PAGES][4096];
extern bool    ram_touched[RAM_PAGES], vram_touched[VRAM_PAGES];

/* Its images, which the configuration records. */
#define KERNEL_BYTES (2 * IMAGE_PIECE_BYTES + 17)
#define INITRD_BYTES 300u
extern uint8_t kernel[KERNEL_BYTES], initrd[INITRD_BYTES];

void guest_make(void);
struct snap_header guest_header(void);
void guest_send(struct snap_writer *w, uint32_t region, uint64_t first, uint64_t count, bool stale);
/* Pages that a reader gave, to a writer. */
int guest_copy(struct snap_writer *w, const struct page_batch *b, struct fail *why);
/* As a level: the flat layout, which has none. */
#define GUEST_FLAT 100
/* The same guest in one of three ways, from the file's place: order 0 to 2 differ in order,
 * rounds and superseded pages. */
void guest_write(int fd, int level, int order, struct snap_digests *out);

/* A malloc'd snapshot of few pages: two rounds of pages 3 and 5 data, 4 zero; none with
 * SNAP_STATE_ONLY. */
size_t guest_small(uint8_t **out, int level, uint64_t required);
/* One with both images and page 3, data. digests: may be NULL. */
size_t guest_images(uint8_t **out, struct snap_digests *digests);

/* The first chunk of a type; the chunk behind one, of MAP that behind the memory. */
size_t guest_find(const uint8_t *f, uint16_t type);
size_t guest_next(const uint8_t *f, size_t at);
/* Makes the hashes of a chunk right again, and those of a whole snapshot with its file digest. */
void guest_hash(uint8_t *f, size_t len, size_t at);
void guest_rehash(uint8_t *f, size_t len);
/* Makes all right that follows from the chunks before the directory of a malloc'd snapshot:
 * numbers, directory, counts and lengths in END, hashes. */
void guest_rebuild(uint8_t **f, size_t *len);
/* The same after a change: another type, one chunk more, one less. Before the memory of a flat
 * snapshot, which stays where it is, there is room for a small one. */
void guest_type(uint8_t **f, size_t *len, size_t at, uint16_t type, uint16_t flags);
void guest_insert(uint8_t **f, size_t *len, size_t at, struct chunk *c, const void *payload);
void guest_remove(uint8_t **f, size_t *len, size_t at);

int temp_file(void);
/* Zero pages become holes. */
int memfd_of(const void *buf, size_t len);

#endif
