/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_PAGES_H
#define LIBCOMMON_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A batch of guest pages on its way from a VM to a file or a peer, and back: what one page chunk
 * carries (docs/format.md 4). Always a copy: a guest must not change what is hashed and sent. */

#define PAGE_SIZE_4K    4096u
#define BATCH_PAGES     512u       /* data pages a batch: 2 MiB */
#define BATCH_RUNS      1024u      /* runs a batch */

enum page_kind {
	PAGE_DATA   = 1,    /* bytes follow */
	PAGE_ZERO   = 2,    /* all zero */
	PAGE_PARENT = 3,    /* as in the parent snapshot (chains) */
};

struct page_run {
	uint64_t first;     /* page number in the region */
	uint32_t count;     /* 1 or more */
	uint32_t kind;      /* enum page_kind */
};

struct page_batch {
	uint32_t        region;             /* region id */
	uint32_t        nruns;              /* runs, ascending, not touching the same page twice */
	uint32_t        ndata;              /* data pages, in the order of the runs */
	uint32_t        nhashed;            /* of the data pages those that have their hash */
	const uint8_t  *pages;              /* data pages: data[], or where a reader found them */
	struct page_run runs[BATCH_RUNS];
	uint64_t        hashes[BATCH_PAGES];      /* XXH3-64 of each data page */
	uint8_t         data[BATCH_PAGES * PAGE_SIZE_4K] __attribute__((aligned(4096)));
};

/* The one test of it: nearly all pages of data are told by their first word, zero ones at the speed
 * of memory. len: a multiple of 16, 16 or more. */
bool page_is_zero(const uint8_t *page, size_t len);

void page_batch_begin(struct page_batch *b, uint32_t region);
/* Not even one more page of any kind fits. */
bool page_batch_full(const struct page_batch *b);

/* Appends one page, its number above all before; adjacent pages of a kind share a run. Its bytes go
 * to page_batch_slot() first. add_slot looks whether they are zero; add_data and add_zero are for a
 * caller that has looked already, as the test costs a pass over the page. */
uint8_t *page_batch_slot(struct page_batch *b);
void page_batch_add_slot(struct page_batch *b, uint64_t page);
void page_batch_add_data(struct page_batch *b, uint64_t page);
void page_batch_add_zero(struct page_batch *b, uint64_t page);

/* Pages of any kind in the batch. */
uint64_t page_batch_pages(const struct page_batch *b);

#endif
