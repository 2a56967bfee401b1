/* SPDX-License-Identifier: MIT */
#include "vmrun/memory.h"

#include "libcommon/pageset.h"
#include "libcommon/populated.h"
#include "vmrun/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Numbers, but as sparse as a bitmap: only pages that hold code have one. */
#define CODE_GEN_BITS (8 * sizeof(*((struct region *)0)->code_gen))

static int region_check(const struct machine_region *cfg, struct fail *why)
{
	if (cfg->size == 0 || cfg->size > LIMIT_REGION_BYTES || cfg->size % GUEST_PAGE ||
	    cfg->gpa % GUEST_PAGE || cfg->gpa > UINT64_MAX - cfg->size)
		return fail_set(why, FAIL_LIMIT,
				"region %s: out of range: %" PRIu64 " bytes at 0x%" PRIx64,
				cfg->name, cfg->size, cfg->gpa);
	return 0;
}

static int region_map(struct region *r, int fd, int flags, uint64_t offset, struct fail *why)
{
	void *at = mmap(NULL, (size_t)r->cfg.size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE,
			fd, (off_t)offset);

	if (at == MAP_FAILED)
		return fail_sys(why, "region %s: map %" PRIu64 " MiB", r->cfg.name,
				r->cfg.size >> 20);
	r->host = at;
	/* A crash of ours must not spill the guest; best effort. */
	madvise(r->host, (size_t)r->cfg.size, MADV_DONTDUMP);
	return 0;
}

static int region_open_memfd(struct region *r, struct fail *why)
{
	char name[48];

	snprintf(name, sizeof(name), "vmferry-%s", r->cfg.name);
	r->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0)
		return fail_sys(why, "region %s: memfd_create", r->cfg.name);
	if (ftruncate(r->fd, (off_t)r->cfg.size))
		return fail_sys(why, "region %s: %" PRIu64 " MiB of memory", r->cfg.name,
				r->cfg.size >> 20);
	/* Never F_SEAL_WRITE: it would refuse the mapping. Size is what those who map it rely
	 * on. */
	if (fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fail_sys(why, "region %s: seal", r->cfg.name);
	if (region_map(r, r->fd, MAP_SHARED, 0, why))
		return -1;
	r->dirty = bitmap_open(r->npages);
	return 0;
}

/* The marks are a memfd of their own: where that has pages is where marks may be, which the file
 * cannot tell (region_look). */
static int region_open_file(struct memory *m, struct region *r, uint64_t offset, struct fail *why)
{
	size_t len = bitmap_bytes(r->npages);
	void  *at;

	if (memory_file_holds(m->file, r, offset, why))
		return -1;
	r->offset   = offset;
	r->marks_fd = memfd_create("vmferry-dirty", MFD_CLOEXEC);
	if (r->marks_fd < 0 || ftruncate(r->marks_fd, (off_t)len))
		return fail_sys(why, "region %s: bitmaps", r->cfg.name);
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, r->marks_fd, 0);
	if (at == MAP_FAILED)
		return fail_sys(why, "region %s: bitmaps", r->cfg.name);
	r->dirty = at;
	if (region_map(r, m->file->fd, MAP_PRIVATE, offset, why))
		return -1;
	return memory_file_guard(m, r, why);
}

static int region_open(struct memory *m, struct region *r, const struct machine_region *cfg,
		       uint64_t offset, struct fail *why)
{
	if (region_check(cfg, why))
		return -1;
	r->cfg    = *cfg;
	r->npages = cfg->size / GUEST_PAGE;
	if (m->file ? region_open_file(m, r, offset, why) : region_open_memfd(r, why))
		return -1;
	r->blocks   = calloc(populated_map_words(r->npages), sizeof(*r->blocks));
	r->code     = bitmap_open(r->npages);
	r->code_gen = bitmap_open(r->npages * CODE_GEN_BITS);
	if (!r->dirty || !r->blocks || !r->code || !r->code_gen) {
		errno = ENOMEM;
		return fail_sys(why, "region %s: bitmaps", cfg->name);
	}
	return 0;
}

static void region_close(struct region *r)
{
	if (r->host) {
		memory_file_unguard(r);
		munmap(r->host, (size_t)r->cfg.size);
	}
	if (r->fd >= 0)
		close(r->fd);
	if (r->marks_fd < 0)
		bitmap_close(r->dirty, r->npages);
	else if (r->dirty)
		munmap(r->dirty, bitmap_bytes(r->npages));
	if (r->marks_fd >= 0)
		close(r->marks_fd);
	free(r->blocks);
	bitmap_close(r->code, r->npages);
	bitmap_close(r->code_gen, r->npages * CODE_GEN_BITS);
}

int memory_open_file(struct memory *m, const struct machine *cfg, struct memory_file *file,
		     const uint64_t offsets[], struct fail *why)
{
	*m = (struct memory){ .file = file };
	if (cfg->nregions == 0 || cfg->nregions > LIMIT_REGIONS) {
		memory_close(m);
		return fail_set(why, FAIL_LIMIT,
				"number of memory regions out of range: %u (valid: 1 to %u)",
				cfg->nregions, LIMIT_REGIONS);
	}
	while (m->nregions < cfg->nregions) {
		unsigned       i = m->nregions++;
		struct region *r = &m->regions[i];

		r->fd = r->marks_fd = -1;
		if (region_open(m, r, &cfg->regions[i], offsets ? offsets[i] : 0, why)) {
			memory_close(m);
			return -1;
		}
	}
	return 0;
}

int memory_open(struct memory *m, const struct machine *cfg, struct fail *why)
{
	return memory_open_file(m, cfg, NULL, NULL, why);
}

void memory_close(struct memory *m)
{
	while (m->nregions)
		region_close(&m->regions[--m->nregions]);
	memory_file_close(m->file);
	m->file = NULL;
}

void memory_lose(struct memory *m)
{
	if (!atomic_exchange(&m->lost, true) && m->on_lost)
		m->on_lost(m->on_lost_arg);
}

struct region *memory_region(struct memory *m, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		struct region *r  = &m->regions[i];
		uint64_t       at = gpa - r->cfg.gpa;

		if (gpa >= r->cfg.gpa && at < r->cfg.size && len <= r->cfg.size - at && len > 0)
			return r;
	}
	return NULL;
}

const void *guest_read(struct memory *m, uint64_t gpa, uint64_t len)
{
	struct region *r = memory_region(m, gpa, len);

	return r ? r->host + (gpa - r->cfg.gpa) : NULL;
}

int guest_copy_out(struct memory *m, void *dst, uint64_t gpa, uint64_t len)
{
	const void *p;

	if (len == 0)
		return 0;
	p = guest_read(m, gpa, len);
	if (!p)
		return -1;
	memcpy(dst, p, len);
	return 0;
}

void *guest_write_begin(struct memory *m, struct guest_write *w, uint64_t gpa, uint64_t len)
{
	struct region *r = memory_region(m, gpa, len);

	if (!r || r->cfg.kind == REGION_ROM)
		return NULL;
	*w = (struct guest_write){ .r = r, .at = gpa - r->cfg.gpa, .len = len };
	return r->host + w->at;
}

void guest_write_end(struct guest_write *w)
{
	uint64_t first = w->at >> GUEST_PAGE_SHIFT;

	region_mark(w->r, first, ((w->at + w->len - 1) >> GUEST_PAGE_SHIFT) - first + 1);
}

int guest_copy_in(struct memory *m, uint64_t gpa, const void *src, uint64_t len)
{
	struct guest_write w;
	void              *p;

	if (len == 0)
		return 0;
	p = guest_write_begin(m, &w, gpa, len);
	if (!p)
		return -1;
	memcpy(p, src, len);
	guest_write_end(&w);
	return 0;
}

void region_mark(struct region *r, uint64_t first, uint64_t count)
{
	if (count == 0)
		return;
	bitmap_mark_range(r->dirty, first, count);

	/* A decoder sets the bit and then reads the bytes; we have written the bytes and now take
	 * the bit. Both are read-modify-writes of one word, so either it sees our bytes or we see
	 * its bit: no plain look may come first. */
	for (uint64_t w = first / 64; w <= (first + count - 1) / 64; w++) {
		uint64_t mask = bitmap_mask(w, first, first + count);
		uint64_t hit  = atomic_fetch_and_explicit(&r->code[w], ~mask,
							  memory_order_acq_rel) & mask;

		for (; hit; hit &= hit - 1) {
			uint64_t page = w * 64 + (uint64_t)__builtin_ctzll(hit);

			atomic_fetch_add_explicit(&r->code_gen[page], 1, memory_order_acq_rel);
		}
	}
}

bool memory_lost_now(struct memory *m)
{
	if (m->file && !memory_lost(m) && memory_file_truncated(m->file))
		memory_lose(m);
	return memory_lost(m);
}

void region_look(struct region *r)
{
	uint64_t    first, end = 0, nblocks = populated_count(r->npages);
	struct fail ignored;
	int         rc;

	if (r->marks_fd < 0) {
		populated_look(r->blocks, r->fd, r->npages);
		return;
	}
	/* A page of the bitmap is a block of the region. */
	while ((rc = populated_extent(r->marks_fd, nblocks, end, &first, &end, &ignored)) > 0)
		bitmap_set_range(r->blocks, first, end - first);
	if (rc < 0)
		bitmap_set_range(r->blocks, 0, nblocks);
}

/* Of a file: what it has as data, and what the guest has written. */
static int region_present_file(const struct memory *m, const struct region *r, region_run_fn *fn,
			       void *arg, struct fail *why)
{
	struct pageset set;
	uint64_t       at = 0, n;
	int            rc;

	if (pageset_open(&set, r->npages, why))
		return -1;
	rc = memory_file_present(m->file, r, &set, why);
	for (; rc == 0 && pageset_next(&set, at, r->npages, &at, &n); at += n)
		fn(arg, at, n);
	pageset_close(&set);
	return rc;
}

int region_present(const struct memory *m, const struct region *r, region_run_fn *fn, void *arg,
		   struct fail *why)
{
	uint64_t first, end = 0;
	int      rc;

	if (m->file)
		return region_present_file(m, r, fn, arg, why);
	while ((rc = populated_extent(r->fd, r->npages, end, &first, &end, why)) > 0)
		fn(arg, first, end - first);
	return rc ? fail_prefix(why, "region %s: ", r->cfg.name) : 0;
}
