/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_STREAM_INTERNAL_H
#define FORMAT_SNAPSHOT_STREAM_INTERNAL_H

#include "format/snapshot/auth.h"
#include "format/snapshot/chunk_info.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"

/* What stream.c, which reads, and stream_chunks.c, which judges what was read, share. */

struct snap_stream {
	int                   fd, cancel;        /* cancel: -1 for none */
	char                  what[256];
	struct snap_header    header;
	uint64_t              pos;               /* bytes read */
	enum chunk_phase      phase;
	bool                  broken;            /* a failure: nothing behind it can be trusted */
	uint64_t              npages[LIMIT_REGIONS];
	struct content       *content;
	struct page_codec    *codec;
	XXH3_state_t         *digest;
	uint8_t              *payload;
	size_t                capacity;
	uint8_t              *trees[2];          /* configuration, state */
	size_t                lens[2];
	struct machine       *machine;           /* as the configuration has it */
	bool                  keyed;
	struct hostkey        key;
	enum snap_auth        auth_config, auth_all;
	bool                  auth_last;         /* the state has to follow now */
	uint8_t               auth[AUTH_BYTES];  /* it; zeroes: none */
	struct snap_end       seen;              /* what END has to say */
	struct index_cursor   cursor;
	uint64_t              finals[LIMIT_REGIONS][PAGE_PARENT + 1];
	bool                  have_batch;
	struct images_reader *images;            /* once the configuration has come */
	bool                  have_piece;
	struct image_piece    piece;
	/* From here on not zeroed when opened: 2 MiB that would be touched for nothing. */
	struct page_batch     batch;
	uint64_t              hashes[BATCH_PAGES];
};

#endif
