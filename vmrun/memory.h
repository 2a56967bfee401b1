/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_MEMORY_H
#define VMRUN_MEMORY_H

#include "format/tree/machine.h"
#include "libcommon/bitmap.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Guest memory: regions, one way to reach them, and the marks of what was written. A region is a
 * memfd, or a private mapping of a file (memory_file.h): its pages are the file's until the guest
 * writes them.
 *
 * Whoever writes guest memory marks the page in `dirty` after the last byte is written: a mark made
 * before the write could be taken by a sync in between, and the page would be lost. Devices, loader
 * and reset use guest_write_begin/_end; the software CPU marks in its slow store path. Only
 * dirty_sync() (dirty.h) takes marks away. A page from which a software CPU has decoded
 * instructions has its bit in `code` and loses its write tags; a write to it clears the bit and
 * counts code_gen up, so that decoded copies are known to be stale. */

#define GUEST_PAGE       4096u
#define GUEST_PAGE_SHIFT 12

struct memory_file;

struct region {
	struct machine_region cfg;
	int                   fd;          /* memfd, sealed SHRINK|GROW|SEAL; of a file: -1 */
	uint64_t              offset;      /* of a file: where the region begins in memory.file */
	int                   marks_fd;    /* of a file: memfd with `dirty`; else -1 */
	uint8_t              *host;        /* mapping of cfg.size bytes; of a file MAP_PRIVATE */
	uint64_t              npages;
	bitmap_word          *dirty;       /* pages written since the last dirty_sync */
	uint64_t             *blocks;      /* libcommon/populated.h, under control_lock */
	bitmap_word          *code;        /* pages with decoded code somewhere */
	_Atomic uint32_t     *code_gen;    /* a page; counts up when code on it may have changed */
};

struct memory {
	unsigned            nregions;
	struct region       regions[LIMIT_REGIONS];
	struct memory_file *file;          /* of all regions; NULL: they are memfds */
	_Atomic bool        lost;          /* see memory_lose */
	/* By memory_lose, once: called in a signal handler, so async-signal-safe. */
	void              (*on_lost)(void *arg);
	void               *on_lost_arg;
};

/* Creates and maps the memfds; touches no page. */
int memory_open(struct memory *m, const struct machine *cfg, struct fail *why);
/* Maps the regions of a file instead: the i-th begins at offsets[i]. Takes the file over, on
 * failure too. m must not move until memory_close. Takes the same time for any size. */
int memory_open_file(struct memory *m, const struct machine *cfg, struct memory_file *file,
		     const uint64_t offsets[], struct fail *why);
void memory_close(struct memory *m);

/* A page of the file could not be read, and the guest may have seen zeros in its place. Whatever
 * the guest does from now on may be wrong: nothing of it may leave the VM. Async-signal-safe. */
void memory_lose(struct memory *m);

/* Asked by vCPUs and devices after they have read guest memory and before they act on it. */
static inline bool memory_lost(const struct memory *m)
{
	if (!m->file)
		return false;
	/* Another thread may have read the zeros and stored what we have just read: its flag was
	 * set before. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&m->lost, memory_order_relaxed);
}
/* The same, and loses it if the file was truncated, which costs a system call. For where the guest
 * may have noticed what nobody else has: KVM walks page tables and executes instructions by itself,
 * and lets a page that it cannot read look like a page fault of the guest. */
bool memory_lost_now(struct memory *m);

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

/* Brings r->blocks up to date: the blocks in which r->dirty may have marks. */
void region_look(struct region *r);

/* Calls fn for the runs of pages that exist, in ascending order: in the region's memfd, or in the
 * file, or as private copies. Looks at holes and page tables, and touches nothing. A logger calls
 * it after its logging is on: what appears later is marked as written. */
typedef void region_run_fn(void *arg, uint64_t first, uint64_t count);
int region_present(const struct memory *m, const struct region *r, region_run_fn *fn, void *arg,
		   struct fail *why);

#endif
