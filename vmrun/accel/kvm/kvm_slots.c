/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/io.h"
#include "libcommon/populated.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory slots over the regions, and KVM's dirty log of what vCPUs write (KVM api.rst 4.8, 4.117).
 *
 * KVM sets a page's bit in the fault before the store, and write-protects the page again at
 * KVM_CLEAR_DIRTY_LOG (at KVM_GET_DIRTY_LOG in the plain mode). So the pages of a dirty log sync
 * may be read once it has returned: a store after that faults, and is in the next sync. With
 * INITIALLY_SET a log begins with every bit set and no page protected; kvm_log clears all of them
 * at once, so that it starts empty. */

/* An ioctl holds KVM's mmu_lock, which vCPUs' page faults wait for: this many pages at a time keep
 * that short. A multiple of 64, as the ioctl wants. */
#define CLEAR_PAGES 65536u
#define CLEAR_WORDS (CLEAR_PAGES / 64)

static const char *slot_name(const struct kvm *k, unsigned i)
{
	return k->a.vm->memory.regions[i].cfg.name;
}

/* Sets the slot's size (0 removes it) and whether it logs. Only after success is k->slots changed,
 * so that a failure can be undone from there. */
static int slot_set(struct kvm *k, unsigned i, uint64_t size, bool logs, struct fail *why)
{
	const struct region *r   = &k->a.vm->memory.regions[i];
	const bool           rom = r->cfg.kind == REGION_ROM;
	char                 what[96];

	struct kvm_userspace_memory_region set = {
		.slot            = i,
		.flags           = (rom ? KVM_MEM_READONLY : 0u) |
				   (logs ? KVM_MEM_LOG_DIRTY_PAGES : 0u),
		.guest_phys_addr = size ? r->cfg.gpa : k->slots[i].gpa,
		.memory_size     = size,
		.userspace_addr  = (uint64_t)(uintptr_t)r->host,
	};
	snprintf(what, sizeof(what), "KVM_SET_USER_MEMORY_REGION, region %s", r->cfg.name);
	if (kvm_call(k->fd, KVM_SET_USER_MEMORY_REGION, &set, what, why) < 0)
		return -1;
	if (!size || !logs) {
		free(k->slots[i].map);
		k->slots[i].map = NULL;
	}
	k->slots[i].there = size != 0;
	k->slots[i].logs  = size && logs;
	k->slots[i].gpa   = set.guest_phys_addr;
	k->slots[i].size  = size;
	return 0;
}

static bool slot_wanted(const struct region *r) { return r->cfg.kind != REGION_DISK; }
static bool slot_logged(const struct region *r)
{
	return slot_wanted(r) && r->cfg.kind != REGION_ROM;
}

static int slot_manual(struct kvm *k, struct fail *why)
{
	const uint32_t known = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	const uint32_t bits  = k->caps.manual_protect & known;

	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { bits } };

	if (!(bits & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		return 0;
	if (kvm_call(k->fd, KVM_ENABLE_CAP, &cap, "KVM_ENABLE_CAP, manual dirty log", why) < 0)
		return -1;
	k->manual = bits;
	return 0;
}

int kvm_slots_open(struct kvm *k, struct fail *why)
{
	const struct memory *m = &k->a.vm->memory;

	if (m->nregions > (unsigned)k->caps.nslots)
		return fail_set(why, FAIL_LIMIT,
				"%u memory regions exceed the limit of %d KVM memory slots",
				m->nregions, k->caps.nslots);
	if (slot_manual(k, why))
		return -1;
	for (unsigned i = 0; i < m->nregions; i++)
		if (slot_wanted(&m->regions[i]) && kvm_slot_add(k, i, why))
			return -1;
	return 0;
}

/* ---- the log ---- */

/* Write-protects the pages again whose bits are set in words [first, end) of map. Zero words at
 * either end of a piece are left out: most of a large region is clean. */
static int slot_clear(struct kvm *k, unsigned i, uint64_t *map, size_t first, size_t end,
		      struct fail *why)
{
	const uint64_t npages = k->slots[i].size / GUEST_PAGE;
	char           what[96];

	snprintf(what, sizeof(what), "KVM_CLEAR_DIRTY_LOG, region %s", slot_name(k, i));
	for (size_t at = first, to; at < end; at = to) {
		size_t lo, hi;

		to = at + CLEAR_WORDS < end ? at + CLEAR_WORDS : end;
		lo = at;
		hi = to;
		while (lo < hi && !map[lo])
			lo++;
		while (hi > lo && !map[hi - 1])
			hi--;
		if (lo == hi)
			continue;
		/* KVM takes a multiple of 64 pages, or all up to the slot's end. */
		uint64_t pages = hi * 64 < npages ? (hi - lo) * 64 : npages - lo * 64;

		struct kvm_clear_dirty_log clear = {
			.slot         = i,
			.num_pages    = (uint32_t)pages,
			.first_page   = lo * 64,
			.dirty_bitmap = map + lo,
		};

		if (kvm_call(k->fd, KVM_CLEAR_DIRTY_LOG, &clear, what, why) < 0)
			return -1;
	}
	return 0;
}

/* A log that began with every bit set: empty from here on. */
static int slot_clear_all(struct kvm *k, unsigned i, struct fail *why)
{
	const size_t words = bitmap_words(k->slots[i].size / GUEST_PAGE);
	uint64_t    *map   = malloc(words * sizeof(*map));
	int          rc;

	if (!map) {
		errno = ENOMEM;
		return fail_sys(why, "region %s: log", slot_name(k, i));
	}
	memset(map, 0xff, words * sizeof(*map));
	rc = slot_clear(k, i, map, 0, words, why);
	free(map);
	return rc;
}

static int slot_log(struct kvm *k, unsigned i, bool on, struct fail *why)
{
	if (!k->slots[i].there || k->slots[i].logs == on ||
	    !slot_logged(&k->a.vm->memory.regions[i]))
		return 0;
	if (slot_set(k, i, k->slots[i].size, on, why))
		return -1;
	return on && k->manual & KVM_DIRTY_LOG_INITIALLY_SET ? slot_clear_all(k, i, why) : 0;
}

int kvm_log(struct accel *a, bool on, struct fail *why)
{
	struct kvm  *k = (struct kvm *)(void *)a;
	struct fail  undo;

	for (unsigned i = 0; i < a->vm->memory.nregions; i++)
		if (slot_log(k, i, on, why)) {
			/* When the log was off: all slots log, or none. */
			for (unsigned j = 0; on && !k->logging && j <= i; j++)
				slot_log(k, j, false, &undo);
			return -1;
		}
	k->logging = on;
	return 0;
}

/* The map stays allocated while the slot logs: the kernel fills all of it each time, and the page
 * faults of fresh memory would cost more than it does. */
static uint64_t *slot_map(struct kvm *k, unsigned i, struct fail *why)
{
	struct kvm_slot *s = &k->slots[i];

	if (!s->map)
		s->map = calloc(bitmap_words(s->size / GUEST_PAGE), sizeof(*s->map));
	if (!s->map) {
		errno = ENOMEM;
		fail_sys(why, "region %s: log", slot_name(k, i));
	}
	return s->map;
}

/* What the slot's log holds, ORed into dst; words of dst as of the region. Its blocks count as
 * populated from then on. */
static int slot_sync_dirty_log(struct kvm *k, unsigned i, uint64_t *dst, struct fail *why)
{
	const uint64_t npages = k->slots[i].size / GUEST_PAGE;
	const size_t   words  = bitmap_words(npages);
	uint64_t      *blocks = k->a.vm->memory.regions[i].blocks, *map = slot_map(k, i, why);
	uint64_t       first, end;
	char           what[96];

	if (!map)
		return -1;
	struct kvm_dirty_log get = { .slot = i, .dirty_bitmap = map };

	snprintf(what, sizeof(what), "KVM_GET_DIRTY_LOG, region %s", slot_name(k, i));
	if (kvm_call(k->fd, KVM_GET_DIRTY_LOG, &get, what, why) < 0)
		return -1;
	if (npages % 64)      /* bits past the last page are undefined */
		map[words - 1] &= bitmap_mask(words - 1, 0, npages);
	/* Before the clear: the plain log has forgotten these bits, and a clear that fails half-way
	 * must not lose any. */
	for (size_t w = 0; w < words; w++)
		if (map[w]) {
			dst[w] |= map[w];
			bitmap_set(blocks, w / POPULATED_WORDS);
		}
	for (uint64_t at = 0; k->manual && populated_next(blocks, npages, at, &first, &end);
	     at = end)
		if (slot_clear(k, i, map, (size_t)(first / 64), bitmap_words(end), why))
			return -1;
	return 0;
}

int kvm_sync_dirty_log(struct accel *a, uint64_t *const taken[], struct fail *why)
{
	struct kvm    *k     = (struct kvm *)(void *)a;
	const uint64_t began = io_now_ns();
	int            rc    = 0;

	if (!k->logging)
		return fail_set(why, FAIL_REFUSED, "dirty log not started");
	for (unsigned i = 0; i < a->vm->memory.nregions && rc == 0; i++)
		if (k->slots[i].logs)
			rc = slot_sync_dirty_log(k, i, taken[i], why);
	atomic_fetch_add(&k->sync_ns, io_now_ns() - began);
	atomic_fetch_add(&k->syncs, 1);
	return rc;
}

/* ---- slots that change ---- */

int kvm_slot_remove(struct kvm *k, unsigned i, struct fail *why)
{
	struct region *r = i < k->a.vm->memory.nregions ? &k->a.vm->memory.regions[i] : NULL;
	int            rc;

	if (!r || !k->slots[i].there)
		return fail_set(why, FAIL_REFUSED, "region %u has no memory slot", i);
	if (!k->held)
		return fail_set(why, FAIL_REFUSED,
				"region %s: memory slot cannot change while vCPUs run",
				r->cfg.name);
	/* KVM frees the log with the slot. */
	if (k->slots[i].logs) {
		const size_t words = bitmap_words(r->npages);
		uint64_t    *map   = calloc(words, sizeof(*map));

		if (!map) {
			errno = ENOMEM;
			return fail_sys(why, "region %s: log", r->cfg.name);
		}
		rc = slot_sync_dirty_log(k, i, map, why);
		for (size_t w = 0; w < words; w++)
			atomic_fetch_or_explicit(&r->dirty[w], map[w], memory_order_release);
		free(map);
		if (rc)
			return -1;
	}
	return slot_set(k, i, 0, false, why);
}

int kvm_slot_add(struct kvm *k, unsigned i, struct fail *why)
{
	const struct region *r = i < k->a.vm->memory.nregions ? &k->a.vm->memory.regions[i] : NULL;

	if (!r || k->slots[i].there)
		return fail_set(why, FAIL_REFUSED,
				"region %u: invalid, or already has a memory slot", i);
	if (!k->held)
		return fail_set(why, FAIL_REFUSED,
				"region %s: memory slot cannot change while vCPUs run",
				r->cfg.name);
	if (r->cfg.kind == REGION_ROM && !k->caps.readonly_mem)
		return fail_set(why, FAIL_REFUSED,
			"region %s: KVM_CAP_READONLY_MEM not supported by KVM of this kernel",
			r->cfg.name);
	if (slot_set(k, i, r->cfg.size, false, why))
		return -1;
	return k->logging ? slot_log(k, i, true, why) : 0;
}
