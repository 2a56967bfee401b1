/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bitmap.h"
#include "libcommon/pageset.h"

#include <assert.h>
#include <stdlib.h>

/* The latest copy of each page of a region, as a tree like a page table: 512 pages a leaf, 512
 * leaves a middle node. A node that is zero throughout is one pointer, and a leaf holds entries
 * for its data pages only: memory and time follow what a stream says, not how large it claims a
 * region to be, and a hostile one gains nothing. */

#define LEAF_PAGES 512u
#define LEAF_WORDS (LEAF_PAGES / 64)
#define MID_LEAVES 512u
#define MID_PAGES  ((uint64_t)LEAF_PAGES * MID_LEAVES)

struct leaf_data {
	uint64_t              bits[LEAF_WORDS];
	uint32_t              n, capacity;
	struct pagemap_entry *entry;      /* one a bit, in order */
};

/* Scattered zero pages are cheap in a stream (16 bytes each), so a leaf without data is no more
 * than its bits. */
struct leaf {
	uint64_t          zero[LEAF_WORDS];
	struct leaf_data *data;           /* NULL for none */
};

struct mid {
	struct leaf *leaf[MID_LEAVES];
	uint64_t     open[MID_LEAVES / 64];      /* not zero_leaf: what a zero run has to look at */
};

struct pagemap {
	uint64_t       npages;
	size_t         nmids;
	struct mid   **mid;
	struct pageset open;      /* middle nodes that are not zero_mid, likewise */
	uint64_t       steps;     /* nodes and bitmap words changed so far, tests bound it */
};

static struct leaf zero_leaf;      /* by address: every page zero */
static struct mid  zero_mid;

int pagemap_open(struct pagemap **out, uint64_t npages, struct fail *why)
{
	struct pagemap *m;

	if (npages > LIMIT_REGION_BYTES / PAGE_SIZE_4K)
		return fail_set(why, FAIL_LIMIT, "region too large: %llu pages",
				(unsigned long long)npages);
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
	if (pageset_open(&m->open, m->nmids, why)) {
		pagemap_close(m);
		return -1;
	}
	pageset_add(&m->open, 0, m->nmids);
	*out = m;
	return 0;
}

static void leaf_free(struct leaf *l)
{
	if (!l || l == &zero_leaf)
		return;
	if (l->data)
		free(l->data->entry);
	free(l->data);
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
	pageset_close(&m->open);
	free(m->mid);
	free(m);
}

uint64_t pagemap_pages(const struct pagemap *m)
{
	return m->npages;
}

uint64_t pagemap_steps(const struct pagemap *m)
{
	return m->steps + m->open.words;
}

static void bit_clear(uint64_t *w, uint32_t i) { w[i / 64] &= ~((uint64_t)1 << (i % 64)); }

/* How many data pages the leaf has below page i: where i's entry is or belongs. */
static uint32_t leaf_rank(const struct leaf_data *d, uint32_t i)
{
	uint32_t n = 0;

	for (uint32_t w = 0; w < i / 64; w++)
		n += (uint32_t)__builtin_popcountll(d->bits[w]);
	if (i % 64)
		n += (uint32_t)__builtin_popcountll(d->bits[i / 64] << (64 - i % 64));
	return n;
}

static bool leaf_has_data(const struct leaf *l, uint32_t i)
{
	return l->data && bitmap_test(l->data->bits, i);
}

/* The middle node of a page, made if need be: one of its own, with what the map said of it. */
static struct mid *mid_own(struct pagemap *m, uint64_t page, struct fail *why)
{
	struct mid **d = &m->mid[page / MID_PAGES];
	struct mid  *made;

	if (*d && *d != &zero_mid)
		return *d;
	made = calloc(1, sizeof(*made));
	if (!made) {
		fail_sys(why, "page table");
		return NULL;
	}
	if (*d)
		for (size_t i = 0; i < MID_LEAVES; i++)
			made->leaf[i] = &zero_leaf;
	else
		memset(made->open, 0xff, sizeof(made->open));
	*d = made;
	pageset_add(&m->open, page / MID_PAGES, 1);
	m->steps += MID_LEAVES;
	return made;
}

/* The leaf of a page, likewise. */
static struct leaf *leaf_own(struct pagemap *m, uint64_t page, struct fail *why)
{
	struct mid  *d = mid_own(m, page, why);
	uint32_t     i = (uint32_t)(page / LEAF_PAGES % MID_LEAVES);
	struct leaf *made;

	m->steps++;
	if (!d || (d->leaf[i] && d->leaf[i] != &zero_leaf))
		return d ? d->leaf[i] : NULL;
	made = calloc(1, sizeof(*made));
	if (!made) {
		fail_sys(why, "page table");
		return NULL;
	}
	if (d->leaf[i])
		memset(made->zero, 0xff, sizeof(made->zero));
	d->leaf[i] = made;
	bitmap_set(d->open, i);
	return made;
}

static int leaf_capacity(struct leaf *l, struct fail *why)
{
	if (!l->data)
		l->data = calloc(1, sizeof(*l->data));
	if (!l->data)
		return fail_sys(why, "page table");
	if (l->data->n == l->data->capacity) {
		uint32_t              capacity = l->data->capacity ? l->data->capacity * 4 : 8;
		struct pagemap_entry *more = realloc(l->data->entry, capacity * sizeof(*more));

		if (!more)
			return fail_sys(why, "page table");
		l->data->entry = more;
		l->data->capacity  = capacity;
	}
	return 0;
}

int pagemap_set_data(struct pagemap *m, uint64_t page, const struct pagemap_entry *e,
		     struct fail *why)
{
	assert(page < m->npages);

	struct leaf *l = leaf_own(m, page, why);
	uint32_t     i = (uint32_t)(page % LEAF_PAGES), at;

	if (!l)
		return -1;
	if (leaf_has_data(l, i)) {
		l->data->entry[leaf_rank(l->data, i)] = *e;
		return 0;
	}
	if (leaf_capacity(l, why))
		return -1;
	at = leaf_rank(l->data, i);
	memmove(&l->data->entry[at + 1], &l->data->entry[at], (l->data->n - at) * sizeof(*e));
	l->data->entry[at] = *e;
	l->data->n++;
	bitmap_set(l->data->bits, i);
	bit_clear(l->zero, i);
	return 0;
}

/* Pages [from, to) of the leaf, the entries of their data dropped by one move. */
static void leaf_set_zero(struct pagemap *m, struct leaf *l, uint32_t from, uint32_t to)
{
	struct leaf_data *d = l->data;

	if (d && d->n) {
		uint32_t a = leaf_rank(d, from), b = to == LEAF_PAGES ? d->n : leaf_rank(d, to);

		memmove(&d->entry[a], &d->entry[b], (d->n - b) * sizeof(*d->entry));
		d->n -= b - a;
		bitmap_clear_range(d->bits, from, to - from);
	}
	bitmap_set_range(l->zero, from, to - from);
	m->steps += LEAF_WORDS;
}

/* Leaves [from, to) of the node, whole: those that are not zero yet. */
static void mid_zero_leaves(struct pagemap *m, struct mid *d, uint32_t from, uint32_t to)
{
	for (uint32_t w = from / 64; from < to && w <= (to - 1) / 64; w++) {
		uint64_t todo = d->open[w] & bitmap_mask(w, from, to);

		d->open[w] &= ~todo;
		m->steps += 1 + (uint64_t)__builtin_popcountll(todo);
		for (; todo; todo &= todo - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(todo);

			leaf_free(d->leaf[i]);
			d->leaf[i] = &zero_leaf;
		}
	}
}

/* Pages [page, end) of one leaf, not all of it. */
static int leaf_zero_pages(struct pagemap *m, uint64_t page, uint64_t end, struct fail *why)
{
	struct leaf *l;

	if (page == end ||
	    m->mid[page / MID_PAGES]->leaf[page / LEAF_PAGES % MID_LEAVES] == &zero_leaf)
		return 0;
	l = leaf_own(m, page, why);
	if (!l)
		return -1;
	leaf_set_zero(m, l, (uint32_t)(page % LEAF_PAGES),
		      (uint32_t)(end - page / LEAF_PAGES * LEAF_PAGES));
	return 0;
}

/* Pages [page, end) of one middle node that is not zero_mid. */
static int mid_set_zero(struct pagemap *m, uint64_t page, uint64_t end, struct fail *why)
{
	uint64_t    base = page / MID_PAGES * MID_PAGES;
	uint64_t    from = (page + LEAF_PAGES - 1) / LEAF_PAGES * LEAF_PAGES;
	uint64_t    to   = end / LEAF_PAGES * LEAF_PAGES;
	struct mid *d;

	if (end - page == MID_PAGES) {
		m->steps += m->mid[base / MID_PAGES] ? MID_LEAVES : 1;
		mid_free(m->mid[base / MID_PAGES]);
		m->mid[base / MID_PAGES] = &zero_mid;
		pageset_drop(&m->open, base / MID_PAGES, 1);
		return 0;
	}
	d = mid_own(m, page, why);
	if (!d)
		return -1;
	if (from > to)      /* within one leaf */
		return leaf_zero_pages(m, page, end, why);
	mid_zero_leaves(m, d, (uint32_t)((from - base) / LEAF_PAGES),
			(uint32_t)((to - base) / LEAF_PAGES));
	return leaf_zero_pages(m, page, from, why) || leaf_zero_pages(m, to, end, why) ? -1 : 0;
}

int pagemap_set_zero(struct pagemap *m, uint64_t first, uint64_t count, struct fail *why)
{
	uint64_t end = first + count, mid = first / MID_PAGES, at, n;

	assert(first <= m->npages && count <= m->npages - first);
	/* A run to the region's end covers the last node, whatever would lie behind it. */
	if (end == m->npages)
		end = (uint64_t)m->nmids * MID_PAGES;
	while (first < end && pageset_next(&m->open, mid, (end - 1) / MID_PAGES + 1, &at, &n)) {
		for (mid = at + n; at < mid; at++) {
			uint64_t from = at * MID_PAGES > first ? at * MID_PAGES : first;
			uint64_t to   = (at + 1) * MID_PAGES < end ? (at + 1) * MID_PAGES : end;

			if (mid_set_zero(m, from, to, why))
				return -1;
		}
	}
	return 0;
}

/* How many pages from page i of the leaf on are as it is: zero, or never named. Data pages go
 * one by one. */
static uint32_t leaf_span(const struct leaf *l, uint32_t i, int kind)
{
	uint32_t w = i / 64;

	for (uint64_t keep = UINT64_MAX << (i % 64); w < LEAF_WORDS; w++, keep = UINT64_MAX) {
		uint64_t other = kind == PAGE_ZERO ? ~l->zero[w]
						   : l->zero[w] | (l->data ? l->data->bits[w] : 0);

		if (other & keep)
			return w * 64 + (uint32_t)__builtin_ctzll(other & keep) - i;
	}
	return LEAF_PAGES - i;
}

/* Leaves from leaf i on that are zero throughout. */
static uint32_t mid_zero_span(const struct mid *d, uint32_t i)
{
	uint32_t w = i / 64;

	for (uint64_t keep = UINT64_MAX << (i % 64); w < MID_LEAVES / 64; w++, keep = UINT64_MAX)
		if (d->open[w] & keep)
			return w * 64 + (uint32_t)__builtin_ctzll(d->open[w] & keep) - i;
	return MID_LEAVES - i;
}

/* Page `page` of the node: as pagemap_at. */
static int mid_at(const struct mid *d, uint32_t page, struct pagemap_entry *e, uint64_t *span)
{
	const struct leaf *l = d->leaf[page / LEAF_PAGES];
	uint32_t           i = page % LEAF_PAGES;
	int                kind;

	*span = LEAF_PAGES - i;
	if (!l)
		return 0;
	if (l == &zero_leaf) {
		*span += (uint64_t)(mid_zero_span(d, page / LEAF_PAGES) - 1) * LEAF_PAGES;
		return PAGE_ZERO;
	}
	if (leaf_has_data(l, i)) {
		*e    = l->data->entry[leaf_rank(l->data, i)];
		*span = 1;
		return PAGE_DATA;
	}
	kind  = bitmap_test(l->zero, i) ? PAGE_ZERO : 0;
	*span = leaf_span(l, i, kind);
	return kind;
}

int pagemap_at(const struct pagemap *m, uint64_t page, struct pagemap_entry *e, uint64_t *span)
{
	const struct mid *d    = m->mid[page / MID_PAGES];
	uint64_t          left = m->npages - page;
	int               kind = d ? PAGE_ZERO : 0;

	if (!d || d == &zero_mid)
		*span = MID_PAGES - page % MID_PAGES;
	else
		kind = mid_at(d, (uint32_t)(page % MID_PAGES), e, span);
	if (*span > left)
		*span = left;
	return kind;
}

void pagemap_leaves(const struct pagemap *m, uint64_t fill,
		    void (*fn)(void *arg, uint64_t leaf, const uint64_t hashes[BATCH_PAGES]),
		    void *arg)
{
	uint64_t hashes[LEAF_PAGES];

	for (size_t i = 0; i < m->nmids; i++) {
		const struct mid *d = m->mid[i];

		for (size_t k = 0; d && d != &zero_mid && k < MID_LEAVES; k++) {
			const struct leaf *l = d->leaf[k];
			uint32_t           n = 0;

			if (!l || !l->data || l->data->n == 0)
				continue;
			for (uint32_t p = 0; p < LEAF_PAGES; p++)
				hashes[p] = bitmap_test(l->data->bits, p) ? l->data->entry[n++].hash
									  : fill;
			fn(arg, (uint64_t)i * MID_LEAVES + k, hashes);
		}
	}
}
