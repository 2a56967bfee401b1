#include "format/snapshot_internal.h"

#include <assert.h>
#include <stdlib.h>

/* The last word on each page of a region, as a tree like a page table: 512 pages a leaf, 512 leaves a middle node. A
 * node that is zero throughout is one pointer, and a leaf holds entries for its data pages only: memory and time
 * follow what a stream says, not how large it claims a region to be, and a hostile one gains nothing. */

#define LEAF_PAGES 512u
#define MID_LEAVES 512u
#define MID_PAGES  ((uint64_t)LEAF_PAGES * MID_LEAVES)

struct leaf {
	uint64_t              data[LEAF_PAGES / 64];
	uint64_t              zero[LEAF_PAGES / 64];
	struct pagemap_entry *entry;      /* one a bit of data, in order */
	uint32_t              n, room;
};

struct mid { struct leaf *leaf[MID_LEAVES]; };

struct pagemap {
	uint64_t     npages;
	size_t       nmids;
	struct mid **mid;
};

static struct leaf zero_leaf;      /* by address: every page zero */
static struct mid  zero_mid;

int pagemap_open(struct pagemap **out, uint64_t npages, struct fail *why)
{
	struct pagemap *m;

	if (npages > LIMIT_REGION_BYTES / PAGE_SIZE_4K)
		return fail_set(why, FAIL_LIMIT, "a region of %llu pages", (unsigned long long)npages);
	m = calloc(1, sizeof(*m));
	if (!m)
		return fail_sys(why, "page table");
	m->npages = npages;
	m->nmids  = (size_t)((npages + MID_PAGES - 1) / MID_PAGES);
	m->mid    = calloc(m->nmids ? m->nmids : 1, sizeof(*m->mid));
	if (!m->mid) {
		fail_sys(why, "page table");
		free(m);
		return -1;
	}
	*out = m;
	return 0;
}

static void leaf_free(struct leaf *l)
{
	if (!l || l == &zero_leaf)
		return;
	free(l->entry);
	free(l);
}

static void mid_free(struct mid *d)
{
	if (!d || d == &zero_mid)
		return;
	for (size_t i = 0; i < MID_LEAVES; i++)
		leaf_free(d->leaf[i]);
	free(d);
}

void pagemap_close(struct pagemap *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->nmids; i++)
		mid_free(m->mid[i]);
	free(m->mid);
	free(m);
}

uint64_t pagemap_pages(const struct pagemap *m)
{
	return m->npages;
}

static bool bit_test(const uint64_t *w, uint32_t i) { return w[i / 64] >> (i % 64) & 1; }
static void bit_set(uint64_t *w, uint32_t i) { w[i / 64] |= (uint64_t)1 << (i % 64); }
static void bit_clear(uint64_t *w, uint32_t i) { w[i / 64] &= ~((uint64_t)1 << (i % 64)); }

/* How many data pages the leaf has below page i: where i's entry is or belongs. */
static uint32_t leaf_rank(const struct leaf *l, uint32_t i)
{
	uint32_t n = 0;

	for (uint32_t w = 0; w < i / 64; w++)
		n += (uint32_t)__builtin_popcountll(l->data[w]);
	if (i % 64)
		n += (uint32_t)__builtin_popcountll(l->data[i / 64] << (64 - i % 64));
	return n;
}

/* The leaf of a page, made if need be: a leaf of its own, with what the node above said of it. */
static struct leaf *leaf_own(struct pagemap *m, uint64_t page, struct fail *why)
{
	struct mid **d = &m->mid[page / MID_PAGES];

	if (!*d || *d == &zero_mid) {
		struct mid *made = calloc(1, sizeof(*made));

		if (!made) {
			fail_sys(why, "page table");
			return NULL;
		}
		for (size_t i = 0; *d && i < MID_LEAVES; i++)
			made->leaf[i] = &zero_leaf;
		*d = made;
	}

	struct leaf **l = &(*d)->leaf[page / LEAF_PAGES % MID_LEAVES];

	if (!*l || *l == &zero_leaf) {
		struct leaf *made = calloc(1, sizeof(*made));

		if (!made) {
			fail_sys(why, "page table");
			return NULL;
		}
		if (*l)
			memset(made->zero, 0xff, sizeof(made->zero));
		*l = made;
	}
	return *l;
}

int pagemap_set_data(struct pagemap *m, uint64_t page, const struct pagemap_entry *e, struct fail *why)
{
	assert(page < m->npages);

	struct leaf *l = leaf_own(m, page, why);
	uint32_t     i = (uint32_t)(page % LEAF_PAGES), at;

	if (!l)
		return -1;
	at = leaf_rank(l, i);
	if (!bit_test(l->data, i)) {
		if (l->n == l->room) {
			uint32_t              room = l->room ? l->room * 4 : 8;
			struct pagemap_entry *more = realloc(l->entry, room * sizeof(*more));

			if (!more)
				return fail_sys(why, "page table");
			l->entry = more;
			l->room  = room;
		}
		memmove(&l->entry[at + 1], &l->entry[at], (l->n - at) * sizeof(*l->entry));
		l->n++;
		bit_set(l->data, i);
		bit_clear(l->zero, i);
	}
	l->entry[at] = *e;
	return 0;
}

static void leaf_set_zero(struct leaf *l, uint32_t i)
{
	if (bit_test(l->data, i)) {
		uint32_t at = leaf_rank(l, i);

		l->n--;
		memmove(&l->entry[at], &l->entry[at + 1], (l->n - at) * sizeof(*l->entry));
		bit_clear(l->data, i);
	}
	bit_set(l->zero, i);
}

int pagemap_set_zero(struct pagemap *m, uint64_t first, uint64_t count, struct fail *why)
{
	uint64_t end = first + count;

	assert(first <= m->npages && count <= m->npages - first);
	/* A run to the region's end covers the last node, whatever would lie behind it. */
	if (end == m->npages)
		end = (uint64_t)m->nmids * MID_PAGES;
	for (uint64_t page = first; page < end;) {
		struct mid **d = &m->mid[page / MID_PAGES];

		if (page % MID_PAGES == 0 && end - page >= MID_PAGES) {
			mid_free(*d);
			*d = &zero_mid;
			page += MID_PAGES;
			continue;
		}
		if (*d == &zero_mid) {
			page += MID_PAGES - page % MID_PAGES;
			continue;
		}
		if (page % LEAF_PAGES == 0 && end - page >= LEAF_PAGES) {
			struct leaf *l = leaf_own(m, page, why);

			if (!l)
				return -1;
			leaf_free(l);
			(*d)->leaf[page / LEAF_PAGES % MID_LEAVES] = &zero_leaf;
			page += LEAF_PAGES;
			continue;
		}
		struct leaf *l = leaf_own(m, page, why);

		if (!l)
			return -1;
		do
			leaf_set_zero(l, (uint32_t)(page % LEAF_PAGES));
		while (++page < end && page % LEAF_PAGES);
	}
	return 0;
}

int pagemap_at(const struct pagemap *m, uint64_t page, struct pagemap_entry *e, uint64_t *span)
{
	const struct mid  *d = m->mid[page / MID_PAGES];
	const struct leaf *l = NULL;
	uint64_t           left = m->npages - page;
	uint32_t           i = (uint32_t)(page % LEAF_PAGES);

	if (!d || d == &zero_mid) {
		*span = MID_PAGES - page % MID_PAGES;
	} else {
		l = d->leaf[page / LEAF_PAGES % MID_LEAVES];
		*span = l && l != &zero_leaf ? 1 : LEAF_PAGES - i;
	}
	if (*span > left)
		*span = left;
	if (d == &zero_mid || l == &zero_leaf)
		return PAGE_ZERO;
	if (!d || !l)
		return 0;
	if (bit_test(l->data, i)) {
		*e = l->entry[leaf_rank(l, i)];
		return PAGE_DATA;
	}
	return bit_test(l->zero, i) ? PAGE_ZERO : 0;
}

void pagemap_leaves(const struct pagemap *m, uint64_t fill, void (*fn)(void *arg, uint64_t leaf, const uint64_t hashes[BATCH_PAGES]), void *arg)
{
	uint64_t hashes[LEAF_PAGES];

	for (size_t i = 0; i < m->nmids; i++) {
		const struct mid *d = m->mid[i];

		for (size_t k = 0; d && d != &zero_mid && k < MID_LEAVES; k++) {
			const struct leaf *l = d->leaf[k];
			uint32_t           n = 0;

			if (!l || l->n == 0)
				continue;
			for (uint32_t p = 0; p < LEAF_PAGES; p++)
				hashes[p] = bit_test(l->data, p) ? l->entry[n++].hash : fill;
			fn(arg, (uint64_t)i * MID_LEAVES + k, hashes);
		}
	}
}
