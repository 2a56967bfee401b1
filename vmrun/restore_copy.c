/* SPDX-License-Identifier: MIT */
#include "vmrun/restore.h"

#include "libcommon/page_apply.h"
#include "libcommon/page_sink.h"

#include <inttypes.h>
#include <string.h>

/* --memory copy: all of the snapshot is read and verified, from a file or a pipe, and written into
 * memory. */

struct restore {
	struct vm       *vm;
	struct page_sink sinks[LIMIT_REGIONS];      /* one a region of vm->memory */
	struct page_apply *apply;                   /* writes to them */
	/* Kernel and initrd, as far as they were read. */
	struct image_pieces images;
};

/* By the thread of r->apply. */
static int restore_batch(void *arg, const struct page_batch *b, struct fail *why)
{
	struct restore *r = arg;

	for (unsigned i = 0; i < r->vm->memory.nregions; i++)
		if (r->vm->memory.regions[i].cfg.id == b->region)
			return page_sink_batch(&r->sinks[i], b, why);
	return fail_set(why, FAIL_CORRUPT, "pages of region %" PRIu32 ", not in the configuration",
			b->region);
}

static int restore_open(struct restore *r, const struct restoring *from, struct fail *why)
{
	struct vm *vm = from->vm;

	r->vm     = vm;
	r->images = restore_images(from);
	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		const struct region *g = &vm->memory.regions[i];

		if (page_sink_open(&r->sinks[i], g->fd, g->npages, g->cfg.name, why))
			return -1;
	}
	return page_apply_open(&r->apply, SNAP_STREAM_BATCHES - 1, restore_batch, r, why);
}

static void restore_close(struct restore *r)
{
	page_apply_close(r->apply);      /* before what it writes to */
	for (unsigned i = 0; i < LIMIT_REGIONS; i++)
		page_sink_close(&r->sinks[i]);
	image_pieces_close(&r->images);
}

/* Reads and verifies everything up to END, into the memory of a VM that does not run yet. The chunk
 * after the configuration has been read already. */
static int restore_pages(const struct restoring *from, struct fail *why)
{
	struct snap_stream *s = from->stream;
	struct restore      r = { 0 };
	struct chunk   c;
	const uint8_t *payload;
	uint64_t       at;
	int            rc = restore_open(&r, from, why), more = 1;

	while (rc == 0 && more) {
		const struct page_batch  *b     = snap_stream_batch(s);
		const struct image_piece *piece = snap_stream_piece(s);

		if (b)
			rc = page_apply_submit(r.apply, b, why);
		if (piece)
			rc = image_pieces_take(&r.images, piece, why);
		if (rc == 0)
			more = snap_stream_next(s, &c, &payload, &at, why);
		if (more < 0)
			rc = -1;
	}
	if (rc == 0)
		rc = page_apply_finish(r.apply, why);
	restore_close(&r);
	return rc;
}

/* The key that authenticates snapshots of this host. Without it none is authentic. */
static void copy_key(struct snap_stream *s, struct fail *why)
{
	struct hostkey k;

	if (hostkey_open(&k, false, why))
		return;
	snap_stream_key(s, &k);
	hostkey_clear(&k);
}

/* Reads the configuration and the chunk that authenticates it; the header has been read. */
static int copy_config(struct restoring *r, struct machine *m, struct machine *recorded,
		       struct fail *why)
{
	struct snap_stream       *s      = r->stream;
	const struct snap_header *h      = snap_stream_header(s);
	struct fail               no_key = { 0 };
	struct chunk              c;
	const uint8_t            *payload, *fdt;
	uint64_t                  at;
	size_t                    len;
	int                       more;

	copy_key(s, &no_key);
	snap_stream_batches(s, SNAP_STREAM_BATCHES);
	if (h->required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_REFUSED,
				"%s: snapshot without memory (saved with --state-only)",
				r->o->source);
	while (!(fdt = snap_stream_config(s, &len))) {
		more = snap_stream_next(s, &c, &payload, &at, why);
		if (more < 0)
			return -1;
		if (more == 0)
			return fail_set(why, FAIL_CORRUPT, "%s: missing config chunk",
					r->o->source);
	}
	/* Before the next chunk is read: a tree that is no machine is the first thing to say. */
	if (machine_read(m, fdt, len, why))
		return fail_prefix(why, "%s: ", r->o->source);
	if (snap_stream_next(s, &c, &payload, &at, why) < 0)
		return -1;
	return restore_machine(r, fdt, len, snap_stream_auth_config(s), &no_key, m, recorded, why);
}

static int copy_open(struct restoring *r, struct machine *m, struct machine *recorded,
		     struct vm_backing *backing, struct fail *why)
{
	const char *source = r->o->source;
	bool        file   = strcmp(source, "-") != 0;
	uint8_t     header[SNAP_HEADER_BYTES];

	(void)backing;
	r->fd = setup_source(source, why);
	if (r->fd < 0 ||
	    snap_header_load(r->fd, source, file, "vmrun --restore -", header, why) ||
	    snap_stream_open_at(&r->stream, r->fd, header, source, why))
		return -1;
	return copy_config(r, m, recorded, why);
}

static int copy_load(struct restoring *r, struct fail *why)
{
	snap_stream_cancel(r->stream, r->cancel);
	if (restore_pages(r, why))
		return -1;
	return restore_own(r->o, snap_stream_auth_config(r->stream),
			   snap_stream_auth_all(r->stream), why);
}

static const uint8_t *copy_state(const struct restoring *r, size_t *len)
{
	return snap_stream_state(r->stream, len);
}

static void copy_close(struct restoring *r)
{
	snap_stream_close(r->stream);
}

const struct restore_ops restore_copy = { copy_open, copy_load, copy_state, copy_close };
