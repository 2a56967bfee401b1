/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_FILE_INTERNAL_H
#define FORMAT_SNAPSHOT_FILE_INTERNAL_H

#include "format/snapshot/chunk_info.h"
#include "format/snapshot/flat.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"

/* What the readers of a file share: file.c, which opens it; file_index.c and file_page.c, which
 * find and read a page; file_flat.c, which reads one of a flat file; file_walk.c, which goes
 * through all chunks; file_parts.c, which hands out what the directory lists. */

#define FILE_TABLE 65536u
static_assert(INDEX_CHUNK_RUNS * INDEX_RUN_BYTES <= FILE_TABLE &&
		      INDEX_LEVEL_KEYS * INDEX_KEY_BYTES <= FILE_TABLE &&
		      DIRECTORY_ENTRIES * DIRECTORY_ENTRY_BYTES <= FILE_TABLE &&
		      HASHES_MAX <= FILE_TABLE,
	      "a table does not fit");

struct snap_image {
	int                    fd;
	char                   what[256];
	uint64_t               bytes;
	struct snap_header     header;
	struct snap_end        end;
	uint8_t               *trees[2];             /* configuration, state */
	size_t                 lens[2];
	struct machine        *machine;              /* as the configuration has it */
	struct images_reader  *images;               /* of the last walk */
	uint64_t               npages[LIMIT_REGIONS];
	uint64_t               kinds[LIMIT_REGIONS][PAGE_PARENT + 1];
	struct directory       directory;
	struct index_shape     shape;
	/* The chunk of each level that is in tables[level]; UINT64_MAX: none. */
	uint64_t               have[INDEX_LEVELS + 1];
	uint64_t               found;                /* number of the run that was found last */
	struct flat_map        map;                  /* flat: where memory is */
	uint64_t               hashes_have;          /* the chunk in hashes; UINT64_MAX: none */
	struct page_codec     *codec;
	/* The page chunk at chunk_at (0: none): its tables, and all data when it is compressed. */
	uint64_t               chunk_at;
	struct chunk           chunk;
	uint8_t               *payload;
	/* From here on not zeroed when opened: 2 MiB that would be touched for nothing. */
	struct page_batch      batch;
	uint8_t                tables[INDEX_LEVELS + 1][FILE_TABLE];
	uint8_t                hashes[FILE_TABLE];
};

/* A chunk's header at `at`, the chunk within the file before `limit`; its bytes into header. */
int image_header(const struct snap_image *s, uint8_t header[CHUNK_HEADER_BYTES], struct chunk *c,
		 uint64_t at, uint64_t limit, struct fail *why);
/* Its payload, checked by its hash. */
int image_payload(const struct snap_image *s, const struct chunk *c, uint64_t at, uint8_t *buf,
		  struct fail *why);
/* A chunk of `type` with a payload of len bytes and neither region nor encoding: reads and checks
 * it. */
int image_chunk(const struct snap_image *s, uint16_t type, uint64_t at, uint64_t len, uint8_t *buf,
		struct fail *why);

/* The chunk that an entry of the directory describes, whose length the caller has bounded. */
int image_listed(const struct snap_image *s, const struct directory_entry *e, uint8_t *buf,
		 struct fail *why);

/* file_index.c: the last run that begins at or before the page: 1, or 0 when there is none. */
int image_find(struct snap_image *s, uint32_t region, uint64_t page, struct index_run *r,
	       struct fail *why);

/* file_flat.c: reads and checks the MAP chunk, and that the hash table fits where it belongs; a
 * data page that the run names, verified. In the chunked layout there is neither. */
int image_flat_open(struct snap_image *s, struct fail *why);
int image_flat_page(struct snap_image *s, const struct index_run *r, uint64_t page,
		    uint8_t out[PAGE_SIZE_4K], struct fail *why);

#endif
