/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"

#include <inttypes.h>

void index_run_put(uint8_t out[INDEX_RUN_BYTES], const struct index_run *r)
{
	put_le16(out, (uint16_t)r->region);
	put_le16(out + 2, r->kind);
	put_le16(out + 4, r->slot);
	put_le16(out + 6, 0);
	put_le64(out + 8, r->first);
	put_le64(out + 16, r->count);
	put_le64(out + 24, r->chunk);
}

int index_run_get(struct index_run *r, const uint8_t in[INDEX_RUN_BYTES], enum snap_layout layout,
		  uint64_t at, struct fail *why)
{
	r->region = get_le16(in);
	r->kind   = get_le16(in + 2);
	r->slot   = get_le16(in + 4);
	r->first  = get_le64(in + 8);
	r->count  = get_le64(in + 16);
	r->chunk  = get_le64(in + 24);
	if (r->region >= LIMIT_REGIONS || get_le16(in + 6) || r->count == 0 ||
	    r->first > UINT64_MAX - r->count)
		return fail_at(why, FAIL_CORRUPT, at, "index: invalid run");
	if (r->kind == PAGE_PARENT)
		return fail_at(why, FAIL_VERSION, at,
			       "index: pages of a parent snapshot not supported by this build");
	if (r->kind != PAGE_DATA && r->kind != PAGE_ZERO)
		return fail_at(why, FAIL_CORRUPT, at, "index: invalid page kind %u", r->kind);
	if (layout == SNAP_FLAT && r->slot)
		return fail_at(why, FAIL_CORRUPT, at, "index: slot in a flat snapshot");
	if (layout == SNAP_CHUNKED && r->kind == PAGE_DATA &&
	    (r->slot >= BATCH_PAGES || r->count > BATCH_PAGES - r->slot ||
	     r->chunk < SNAP_HEADER_BYTES))
		return fail_at(why, FAIL_CORRUPT, at, "index: invalid chunk offset");
	if (r->kind != PAGE_DATA && (r->slot || r->chunk))
		return fail_at(why, FAIL_CORRUPT, at, "index: chunk offset for pages without data");
	return 0;
}

/* Do the pages of this kind, e the first of them, go on the run, which ends with `last`? */
static bool index_adjacent(const struct index_run *r, enum snap_layout layout, int kind,
			   const struct pagemap_entry *e, uint64_t last)
{
	if (kind != r->kind)
		return false;
	return kind != PAGE_DATA || layout == SNAP_FLAT ||
	       (e->where == last + 1 && e->where >> PAGEMAP_SLOT_BITS == r->chunk);
}

bool index_next(const struct content *c, struct index_cursor *i, struct index_run *out)
{
	struct pagemap_entry e = { 0 };

	for (; i->region < LIMIT_REGIONS; i->region++, i->page = 0) {
		const struct pagemap *m = content_map(c, i->region);
		uint64_t              npages = m ? pagemap_pages(m) : 0, span;
		int                   kind = 0;

		while (i->page < npages && (kind = pagemap_at(m, i->page, &e, &span)) == 0)
			i->page += span;
		if (i->page >= npages)
			continue;
		*out = (struct index_run){ .region = i->region, .kind = (uint16_t)kind,
					   .first = i->page, .count = span };
		if (kind == PAGE_DATA && i->layout == SNAP_FLAT) {
			out->chunk = i->hash;
		} else if (kind == PAGE_DATA) {
			out->chunk = e.where >> PAGEMAP_SLOT_BITS;
			out->slot  = (uint16_t)(e.where & (BATCH_PAGES - 1));
		}
		for (i->page += span; i->page < npages; i->page += span, out->count += span) {
			uint64_t last = e.where;
			int      next = pagemap_at(m, i->page, &e, &span);

			if (!index_adjacent(out, i->layout, next, &e, last))
				break;
		}
		if (kind == PAGE_DATA)
			i->hash += out->count;
		return true;
	}
	return false;
}
