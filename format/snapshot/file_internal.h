/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_FILE_INTERNAL_H
#define FORMAT_SNAPSHOT_FILE_INTERNAL_H

#include "format/snapshot/chunk_info.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"

/* What file.c, which reads pages by the index, and file_walk.c, which goes through all chunks,
 * share. */

struct image_first { uint32_t region; uint64_t page; };

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
	struct image_first    *firsts;               /* first run of each INDEX chunk */
	uint64_t               nindex;               /* INDEX chunks */
	uint64_t               index_have;           /* the one in `index`; UINT64_MAX: none */
	uint8_t                index[INDEX_CHUNK_RUNS * INDEX_RUN_BYTES];
	struct page_codec     *codec;
	/* The page chunk at chunk_at (0: none): its tables, and all data when it is compressed. */
	uint64_t               chunk_at;
	struct chunk           chunk;
	struct page_chunk_head head;
	uint64_t               hashes[BATCH_PAGES];
	uint8_t               *payload;
	/* From here on not zeroed when opened: 2 MiB that would be touched for nothing. */
	struct page_batch      batch;
};

/* A chunk's header at `at`, the chunk within the file before `limit`; its bytes into header. */
int image_header(const struct snap_image *s, uint8_t header[CHUNK_HEADER_BYTES], struct chunk *c,
		 uint64_t at, uint64_t limit, struct fail *why);
/* Its payload, checked by its hash. */
int image_payload(const struct snap_image *s, const struct chunk *c, uint64_t at, uint8_t *buf,
		  struct fail *why);

#endif
