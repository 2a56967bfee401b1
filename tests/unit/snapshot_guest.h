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
/* The same guest in one of three ways, from the file's place: order 0 to 2 differ in order,
 * rounds and superseded pages. */
void guest_write(int fd, int level, int order, uint8_t content[16]);

/* A malloc'd snapshot of few pages: two rounds of pages 3 and 5 data, 4 zero; none with
 * SNAP_STATE_ONLY. */
size_t guest_small(uint8_t **out, int level, uint64_t required);
/* One with both images and page 3, data. content (may be NULL): the content digest. */
size_t guest_images(uint8_t **out, uint8_t content[16]);
/* Makes every hash of a changed snapshot right again. */
void guest_rehash(uint8_t *f, size_t len);
/* The first chunk of a type. */
size_t guest_find(const uint8_t *f, uint16_t type);

int temp_file(void);
int memfd_of(const void *buf, size_t len);

#endif
