/* SPDX-License-Identifier: MIT */
#include "format/snapshot/flat.h"

#include "libcommon/bytes.h"

#include <inttypes.h>

static uint64_t flat_align(uint64_t at)
{
	return (at + FLAT_ALIGN - 1) / FLAT_ALIGN * FLAT_ALIGN;
}

void flat_map_of(struct flat_map *m, const uint64_t npages[LIMIT_REGIONS], uint64_t map_at)
{
	uint32_t n = 0;

	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		n += npages[id] != 0;
	/* A multiple of 8: the payload has no padding. */
	m->begin = m->end = map_at + CHUNK_HEADER_BYTES + n * MAP_ENTRY_BYTES;
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++) {
		m->at[id] = npages[id] ? flat_align(m->end) : 0;
		if (npages[id])
			m->end = m->at[id] + npages[id] * PAGE_SIZE_4K;
	}
}

size_t flat_map_put(uint8_t out[MAP_MAX], const struct flat_map *m,
		    const uint64_t npages[LIMIT_REGIONS])
{
	uint8_t *p = out;

	memset(out, 0, MAP_MAX);
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++) {
		if (!npages[id])
			continue;
		put_le16(p, (uint16_t)id);
		put_le64(p + 8, npages[id]);
		put_le64(p + 16, m->at[id]);
		p += MAP_ENTRY_BYTES;
	}
	return (size_t)(p - out);
}

int flat_map_check(const struct flat_map *m, const uint64_t npages[LIMIT_REGIONS],
		   const uint8_t *payload, size_t len, uint64_t at, struct fail *why)
{
	uint8_t expected[MAP_MAX];

	if (len == flat_map_put(expected, m, npages) && memcmp(payload, expected, len) == 0)
		return 0;
	return fail_at(why, FAIL_CORRUPT, at,
		       "map chunk: does not match the regions of the configuration");
}

/* Moves on to the next data page, the one at the cursor included. */
static bool hashes_find(const struct content *c, struct hashes_cursor *i, struct pagemap_entry *e)
{
	uint64_t span;

	for (; i->region < LIMIT_REGIONS; i->region++, i->page = 0) {
		const struct pagemap *m = content_map(c, i->region);

		for (; m && i->page < pagemap_pages(m); i->page += span)
			if (pagemap_at(m, i->page, e, &span) == PAGE_DATA)
				return true;
	}
	return false;
}

size_t hashes_next(const struct content *c, struct hashes_cursor *i, uint8_t out[HASHES_MAX])
{
	struct pagemap_entry e = { 0 };
	size_t               n = 0;

	for (; n < HASHES_MAX && hashes_find(c, i, &e); i->page++, n += 8)
		put_le64(out + n, e.hash);
	return n;
}

void hashes_page(const struct content *c, struct hashes_cursor *i, size_t n)
{
	struct pagemap_entry e;

	while (hashes_find(c, i, &e) && n--)
		i->page++;
}
