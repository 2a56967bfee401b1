/* SPDX-License-Identifier: MIT */
/* Any bytes as a snapshot read as a stream: refused with a reason, or read to an end that holds
 * together. */
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot.h"
#include "tests/fuzz/sparse.h"

#include <assert.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int          fd = -1;
	struct snap_stream *s;
	struct chunk        c;
	struct fail         why = { 0 };
	const uint8_t      *payload;
	uint64_t            at, last = 0, pages = 0;
	int                 rc;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	len = sparse_file(fd, data, len);
	if (!len)
		return 0;
	if (snap_stream_open(&s, fd, "fuzz", &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		return 0;
	}
	while ((rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0) {
		const struct page_batch  *b          = snap_stream_batch(s);
		const struct image_piece *piece      = snap_stream_piece(s);
		uint64_t                  data_pages = 0;

		/* A flat snapshot's memory comes with its MAP chunk, again and again. */
		assert((at > last || (b && at == last && c.type == CHUNK_MAP)) &&
		       at + chunk_bytes(&c) <= len);
		last = at;
		assert((b != NULL) == (c.type == CHUNK_PAGES) || c.type == CHUNK_MAP);
		assert((piece != NULL) == (c.type == CHUNK_BLOB));
		assert(!piece || (image_is(piece->host) && piece->len &&
				  piece->host->size <= LIMIT_IMAGE_BYTES &&
				  piece->at + piece->len <= piece->host->size &&
				  piece->bytes + piece->len == payload + c.len &&
				  piece->last == snap_stream_has_image(s, piece->host->name)));
		for (uint32_t i = 0; b && i < b->nruns; i++) {
			assert(i == 0 ||
			       b->runs[i].first >= b->runs[i - 1].first + b->runs[i - 1].count);
			data_pages += b->runs[i].kind == PAGE_DATA ? b->runs[i].count : 0;
		}
		assert(!b || (data_pages == b->ndata && b->ndata <= BATCH_PAGES));
		pages += data_pages;
	}
	if (rc < 0) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		assert(snap_stream_next(s, &c, &payload, &at, &why) < 0);
	} else {
		uint64_t finals = 0;
		size_t   n;

		for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
			finals += snap_stream_pages(s, r, PAGE_DATA);
		assert(finals <= pages && snap_stream_config(s, &n) && n &&
		       snap_stream_state(s, &n) && n);
		assert(snap_stream_next(s, &c, &payload, &at, &why) == 0);
	}
	snap_stream_close(s);
	return 0;
}
