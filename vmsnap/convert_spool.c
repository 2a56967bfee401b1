/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert_spool.h"

#include "libcommon/bytes.h"
#include "libcommon/fault.h"
#include "vmsnap/space.h"

#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define IN_INDEX_RUN 32u      /* bytes of a run of the index */

struct spool {
	struct convert_in  *in;
	struct snap_stream *stream;
	struct snap_writer *writer;
	struct space        space;
	struct page_batch  *batch;      /* a copy of the stream's, but for the pages */
};

static int spool_open(struct spool *s, const struct destination *to, struct fail *why)
{
	struct convert_in               *in = s->in;
	const struct snap_writer_options o  = {
		/* Without memory there is nothing to be replaced. */
		.layout = in->header.required & SNAP_STATE_ONLY ? SNAP_CHUNKED : SNAP_FLAT,
	};

	s->batch = aligned_alloc(alignof(struct page_batch), sizeof(*s->batch));
	if (!s->batch) {
		errno = ENOMEM;
		return fail_sys(why, "pages");
	}
	in->spool = temporary_open(to, in->spool_what, why);
	if (in->spool < 0)
		return -1;
	space_open(&s->space, in->spool, in->spool_what, o.layout == SNAP_FLAT);
	s->space.temporary = true;
	return snap_writer_open(&s->writer, in->spool, &in->header, &o, in->spool_what, why);
}

/* The writer may add to a batch; that of the stream is not ours. */
static int spool_pages(struct spool *s, const struct page_batch *b, struct fail *why)
{
	memcpy(s->batch, b, offsetof(struct page_batch, data));
	if (space_next(&s->space, snap_writer_bytes(s->writer), sizeof(*b), why))
		return -1;
	return snap_writer_pages(s->writer, s->batch, why);
}

/* A flat stream names its zero pages only by its index (docs/format.md 10), whose chunk has just
 * been verified. The writer still takes pages: it gets its state when END has been read. */
static int spool_zeroes(struct spool *s, const uint8_t *runs, size_t len, struct fail *why)
{
	struct page_batch *b = s->batch;

	page_batch_begin(b, 0);
	for (const uint8_t *r = runs; r < runs + len; r += IN_INDEX_RUN) {
		uint64_t first = get_le64(r + 8), count = get_le64(r + 16), n;

		if (get_le16(r + 2) != PAGE_ZERO)
			continue;
		for (; count; first += n, count -= n) {
			if (b->nruns == BATCH_RUNS || (b->nruns && b->region != get_le16(r))) {
				if (snap_writer_pages(s->writer, b, why))
					return -1;
				b->nruns = 0;
			}
			n = count < UINT32_MAX ? count : UINT32_MAX;
			b->region           = get_le16(r);
			b->runs[b->nruns++] = (struct page_run){ .first = first,
								 .count = (uint32_t)n,
								 .kind = PAGE_ZERO };
		}
	}
	return snap_writer_pages(s->writer, b, why);
}

static int spool_chunk(struct spool *s, const struct chunk *c, const uint8_t *payload,
		       struct fail *why)
{
	const struct page_batch  *b = snap_stream_batch(s->stream);
	const struct image_piece *p = snap_stream_piece(s->stream);
	const uint8_t            *tree;
	size_t                    len;

	s->in->left_out += convert_in_leaves_out(c->type);
	if (b && spool_pages(s, b, why))
		return -1;
	if (p && convert_images_piece(&s->in->images, p, why))
		return -1;
	switch (c->type) {
	case CHUNK_CONFIG:
		tree = snap_stream_config(s->stream, &len);
		return snap_writer_config(s->writer, tree, len, why);
	case CHUNK_INDEX:
		if (s->in->header.layout == SNAP_FLAT)
			return spool_zeroes(s, payload, c->len, why);
		return 0;
	default:
		return 0;
	}
}

/* END has been read: everything is as it should be. */
static int spool_end(struct spool *s, struct fail *why)
{
	struct convert_in  *in = s->in;
	struct snap_digests written;
	const uint8_t      *tree;
	size_t              len;

	in->digests     = *snap_stream_digests(s->stream);
	in->auth_config = snap_stream_auth_config(s->stream);
	in->auth_all    = snap_stream_auth_all(s->stream);
	tree            = snap_stream_state(s->stream, &len);
	snap_writer_expect(s->writer, &in->digests);
	if (snap_writer_state(s->writer, tree, len, why) ||
	    snap_writer_end(s->writer, &written, why))
		return -1;
	space_trim(&s->space, snap_writer_bytes(s->writer));
	fault_point("vmsnap.spooled");
	return 0;
}

static int spool_run(struct spool *s, const struct hostkey *k, struct fail *why)
{
	const uint8_t *payload;
	struct chunk   c;
	uint64_t       at;
	int            more;

	if (k)
		snap_stream_key(s->stream, k);
	while ((more = snap_stream_next(s->stream, &c, &payload, &at, why)) > 0)
		if (spool_chunk(s, &c, payload, why))
			return -1;
	if (more < 0)
		return -1;
	s->in->bytes = at + chunk_bytes(&c);
	return spool_end(s, why);
}

int convert_spool(struct convert_in *in, const struct destination *to, const struct hostkey *k,
		  struct fail *why)
{
	struct spool s = { .in = in };
	int          rc;

	rc = snap_stream_open_at(&s.stream, in->fd, in->bytes_of_header, in->what, why);
	if (rc == 0)
		rc = spool_open(&s, to, why);
	if (rc == 0)
		rc = spool_run(&s, k, why);
	snap_writer_close(s.writer);
	snap_stream_close(s.stream);
	free(s.batch);
	return rc;
}
