/* SPDX-License-Identifier: MIT */
#include "format/snapshot/file_internal.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <inttypes.h>

/* The memory and the hash table of a flat file (docs/format.md 10). */

static int flat_map(struct snap_image *s, struct fail *why)
{
	const struct directory_entry *map = NULL;
	uint8_t                       payload[MAP_MAX];

	for (size_t i = 0; i < s->directory.n; i++) {
		if (s->directory.v[i].type != CHUNK_MAP)
			continue;
		if (map)
			return fail_at(why, FAIL_CORRUPT, s->directory.v[i].at,
				       "second map chunk");
		map = &s->directory.v[i];
	}
	if (!map)
		return fail_at(why, FAIL_CORRUPT, s->end.directory_at, "missing map chunk");
	if (map->len > sizeof(payload))
		return fail_at(why, FAIL_CORRUPT, map->at,
			       "map chunk: invalid length: %" PRIu32 " bytes", map->len);
	flat_map_of(&s->map, s->npages, map->at);
	if (image_listed(s, map, payload, why) ||
	    flat_map_check(&s->map, s->npages, payload, map->len, map->at, why))
		return -1;
	if (s->map.end > s->end.index_at)
		return fail_at(why, FAIL_CORRUPT, map->at,
			       "map chunk: memory extends past the index");
	return 0;
}

int image_flat_open(struct snap_image *s, struct fail *why)
{
	uint64_t end = s->bytes - SNAP_END_BYTES, n = s->end.hashes;

	if (s->header.layout != SNAP_FLAT) {
		if (n)
			return fail_at(why, FAIL_CORRUPT, end,
				       "end chunk: hashes in a chunked snapshot");
		return 0;
	}
	if (n > s->bytes / 8 || n * 8 + hashes_chunks(n) * CHUNK_HEADER_BYTES >
					s->end.directory_at - s->shape.end)
		return fail_at(why, FAIL_CORRUPT, end,
			       "end chunk: %" PRIu64 " hashes do not fit into the file", n);
	return flat_map(s, why);
}

static int flat_hash(struct snap_image *s, uint64_t n, uint64_t *hash, struct fail *why)
{
	uint64_t chunk = n / HASHES_CHUNK;

	if (s->hashes_have != chunk) {
		s->hashes_have = UINT64_MAX;
		if (image_chunk(s, CHUNK_HASHES, s->shape.end + hashes_offset(chunk),
				hashes_in(s->end.hashes, chunk) * 8, s->hashes, why))
			return -1;
		s->hashes_have = chunk;
	}
	*hash = get_le64(s->hashes + n % HASHES_CHUNK * 8);
	return 0;
}

int image_flat_page(struct snap_image *s, const struct index_run *r, uint64_t page,
		    uint8_t out[PAGE_SIZE_4K], struct fail *why)
{
	uint64_t at = s->map.at[r->region] + page * PAGE_SIZE_4K, hash;

	/* The run has been checked against the number of hashes. */
	if (flat_hash(s, r->chunk + (page - r->first), &hash, why) ||
	    io_pread(s->fd, out, PAGE_SIZE_4K, at, s->what, why))
		return -1;
	if (hash_same(hash, page_hash(out)))
		return 0;
	return fail_at(why, FAIL_CORRUPT, at,
		       "region %" PRIu32 ": page %" PRIu64 ": checksum mismatch", r->region, page);
}

int snap_image_ram(const struct snap_image *s, uint32_t region, uint64_t *offset, struct fail *why)
{
	if (s->header.layout != SNAP_FLAT)
		return fail_set(why, FAIL_REFUSED,
				"%s: the %s layout cannot be mapped; use 'vmsnap convert --layout "
				"flat'", s->what, snap_layout_name(s->header.layout));
	if (region >= LIMIT_REGIONS || !s->map.at[region])
		return fail_set(why, FAIL_USAGE, "%s: no region %" PRIu32, s->what, region);
	*offset = s->map.at[region];
	return 0;
}
