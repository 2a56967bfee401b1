/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_MEMORY_H
#define VMRUN_MEMORY_H

#include "format/tree/machine.h"
#include "libcommon/bitmap.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Guest memory: regions over memfds, one way to reach them, and the marks of what was written.
 *
 * Whoever writes guest memory marks the page in `dirty` after the last byte is written: a mark made
 * before the write could be taken by a sync in between, and the page would be lost. Devices, loader
 * and reset use guest_write_begin/_end; the software CPU marks in its slow store path. Only
 * dirty_sync() (dirty.h) takes marks away. A page from which a software CPU has decoded
 * instructions has its bit in `code` and loses its write tags; a write to it clears the bit and
 * counts code_gen up, so that decoded copies are known to be stale. */

#define GUEST_PAGE       4096u
#define GUEST_PAGE_SHIFT 12

struct region {
	struct machine_region cfg;
	int                   fd;          /* memfd, sealed SHRINK|GROW|SEAL */
	uint8_t              *host;        /* MAP_SHARED, cfg.size */
	uint64_t              npages;
	bitmap_word          *dirty;       /* pages written since the last dirty_sync */
	uint64_t             *blocks;      /* libcommon/populated.h, under control_lock */
	bitmap_word          *code;        /* pages with decoded code somewhere */
	_Atomic uint32_t     *code_gen;    /* a page; counts up when code on it may have changed */
};

struct memory {
	unsigned      nregions;
	struct region regions[LIMIT_REGIONS];
};

/* Creates and maps the memfds; touches no page. */
int memory_open(struct memory *m, const struct machine *cfg, struct fail *why);
void memory_close(struct memory *m);

/* The region that holds all of [gpa, gpa + len), len 1 or more; NULL when none does. */
struct region *memory_region(struct memory *m, uint64_t gpa, uint64_t len);

/* For reading. NULL unless the whole range lies in one region. Nothing else turns a gpa into a
 * pointer. */
const void *guest_read(struct memory *m, uint64_t gpa, uint64_t len);
/* -1: not memory. */
int guest_copy_out(struct memory *m, void *dst, uint64_t gpa, uint64_t len);

struct guest_write {
	struct region *r;
	uint64_t       at, len;       /* in the region */
};

/* For writing: NULL unless the whole range lies in one writable region. guest_write_end marks, and
 * is called after the last byte has been written: for asynchronous I/O on its completion, at each
 * used-ring update. */
void *guest_write_begin(struct memory *m, struct guest_write *w, uint64_t gpa, uint64_t len);
void guest_write_end(struct guest_write *w);
/* Both steps; -1: not memory. */
int guest_copy_in(struct memory *m, uint64_t gpa, const void *src, uint64_t len);

/* Marks pages [first, first + count) of r written, after the write; drops decoded code. */
void region_mark(struct region *r, uint64_t first, uint64_t count);

/* The next pages at or after `from` that exist in the region's memfd, as populated_extent. Looks at
 * the holes and touches nothing. A logger calls it after its logging is on: what appears later is
 * marked as written. */
int region_present(const struct region *r, uint64_t from, uint64_t *first, uint64_t *end,
		   struct fail *why);

#endif
