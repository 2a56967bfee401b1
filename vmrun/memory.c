/* SPDX-License-Identifier: MIT */
#include "vmrun/memory.h"

#include "libcommon/populated.h"

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

static int region_open(struct region *r, const struct machine_region *cfg, struct fail *why)
{
	char name[48];

	if (cfg->size == 0 || cfg->size > LIMIT_REGION_BYTES || cfg->size % GUEST_PAGE ||
	    cfg->gpa % GUEST_PAGE || cfg->gpa > UINT64_MAX - cfg->size)
		return fail_set(why, FAIL_LIMIT,
				"region %s: out of range: %" PRIu64 " bytes at 0x%" PRIx64,
				cfg->name, cfg->size, cfg->gpa);
	r->cfg    = *cfg;
	r->npages = cfg->size / GUEST_PAGE;

	snprintf(name, sizeof(name), "vmferry-%s", cfg->name);
	r->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0)
		return fail_sys(why, "region %s: memfd_create", cfg->name);
	if (ftruncate(r->fd, (off_t)cfg->size))
		return fail_sys(why, "region %s: %" PRIu64 " MiB of memory", cfg->name,
				cfg->size >> 20);
	/* Never F_SEAL_WRITE: it would refuse the mapping. Size is what those who map it rely
	 * on. */
	if (fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fail_sys(why, "region %s: seal", cfg->name);
	r->host = mmap(NULL, (size_t)cfg->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		       r->fd, 0);
	if (r->host == MAP_FAILED) {
		r->host = NULL;
		return fail_sys(why, "region %s: map %" PRIu64 " MiB", cfg->name, cfg->size >> 20);
	}
	/* A crash of ours must not spill the guest; best effort. */
	madvise(r->host, (size_t)cfg->size, MADV_DONTDUMP);

	r->dirty    = bitmap_open(r->npages);
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
	if (r->host)
		munmap(r->host, (size_t)r->cfg.size);
	if (r->fd >= 0)
		close(r->fd);
	bitmap_close(r->dirty, r->npages);
	free(r->blocks);
	bitmap_close(r->code, r->npages);
	bitmap_close(r->code_gen, r->npages * CODE_GEN_BITS);
}

int memory_open(struct memory *m, const struct machine *cfg, struct fail *why)
{
	*m = (struct memory){ 0 };
	if (cfg->nregions == 0 || cfg->nregions > LIMIT_REGIONS)
		return fail_set(why, FAIL_LIMIT,
				"number of memory regions out of range: %u (valid: 1 to %u)",
				cfg->nregions, LIMIT_REGIONS);
	while (m->nregions < cfg->nregions) {
		struct region *r = &m->regions[m->nregions];

		r->fd = -1;
		m->nregions++;
		if (region_open(r, &cfg->regions[m->nregions - 1], why)) {
			memory_close(m);
			return -1;
		}
	}
	return 0;
}

void memory_close(struct memory *m)
{
	while (m->nregions)
		region_close(&m->regions[--m->nregions]);
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

int region_present(const struct region *r, uint64_t from, uint64_t *first, uint64_t *end,
		   struct fail *why)
{
	int rc = populated_extent(r->fd, r->npages, from, first, end, why);

	return rc < 0 ? fail_prefix(why, "region %s: ", r->cfg.name) : rc;
}
