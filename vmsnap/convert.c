/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/samefile.h"
#include "vmsnap/convert_in.h"
#include "vmsnap/convert_pages.h"
#include "vmsnap/destination.h"
#include "vmsnap/interrupt.h"
#include "vmsnap/space.h"

#include <stdio.h>
#include <sys/stat.h>

/* Order of a conversion:
 *
 *   IN is opened, OUT is opened, which must be another file
 *   all of IN is read and verified, but for the pages of a file that are read by its index
 *   OUT is written: trees and images as they are, pages verified as they are read, in one round
 *   memory and machine must have the digests of IN: only then OUT gets MACs, state and END
 *   the file gets its name
 *
 * The same IN gives the same OUT, byte by byte, whatever it is read from and written to: nothing of
 * the host, of the time, or of how IN is cut into chunks may get into it. */

#define CONVERT_END_BYTES 192u      /* END, at the end of IN: docs/format.md 7 */

struct convert {
	const struct options  *o;
	struct convert_report *r;
	struct convert_in      in;
	struct destination     to;
	struct hostkey         key;
	bool                   has_key;
	struct save_images     images;
	struct space           space;
	struct snap_writer    *writer;
};

static int convert_open(struct convert *c, struct fail *why)
{
	struct stat st;

	if (convert_in_open(&c->in, c->o->in, why))
		return -1;
	if (c->o->layout == SNAP_FLAT && c->in.header.required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_USAGE,
				"%s: snapshot without memory (saved with --state-only): use "
				"--layout chunked", c->in.what);
	if (destination_open(&c->to, c->o, why))
		return -1;
	if (c->to.file)
		return publish_keep(&c->to.publish, &c->in.st, "the snapshot to be converted",
				    why);
	if (fstat(c->to.fd, &st))
		return fail_sys(why, "standard output");
	if (S_ISREG(st.st_mode) && samefile(&st, &c->in.st))
		return fail_set(why, FAIL_USAGE,
				"standard output: is the snapshot to be converted, not "
				"overwritten; name another file");
	return 0;
}

/* Without a key nothing of this host is authentic: it is not created for that. */
static void convert_key(struct convert *c)
{
	c->has_key = hostkey_open(&c->key, false, &c->r->auth_why) == 0;
	if (!c->has_key)
		fail_prefix(&c->r->auth_why, "no key on this host: ");
}

/* A MAC says that this host has written what it covers: only a copy of what had both of them under
 * the same key may have one. */
static void convert_authenticate(struct convert *c)
{
	static const char *const missing[] = {
		[SNAP_AUTH_NONE]    = "not authenticated",
		[SNAP_AUTH_OTHER]   = "authenticated by another host or user",
		[SNAP_AUTH_ALTERED] = "altered since this host has authenticated it",
	};
	const struct convert_in *in = &c->in;
	enum snap_auth           worse;

	if (!c->has_key)
		return;
	worse = in->auth_config == SNAP_AUTH_OK ? in->auth_all : in->auth_config;
	if (worse == SNAP_AUTH_OK) {
		snap_writer_key(c->writer, &c->key);
		c->r->authenticated = true;
	} else {
		fail_set(&c->r->auth_why, FAIL_REFUSED, "%s: %s", in->what, missing[worse]);
	}
}

static int convert_writer(struct convert *c, struct fail *why)
{
	const struct snap_writer_options wo = {
		.layout = c->o->layout, .level = c->o->level, .threads = c->o->threads,
		.align = true,
	};
	struct snap_header h = c->in.header;
	const uint8_t     *config;
	size_t             len;
	uint64_t           images;

	/* Those that are known: a rewrite would have to keep what they say. None is. */
	h.optional = 0;
	if (convert_images_map(&c->in.images, &c->images, why))
		return -1;
	images = save_images_space(&c->images);
	space_open(&c->space, c->to.fd, c->to.what, c->o->layout == SNAP_FLAT);
	/* With compression it will be less, by how much is unknown. */
	if (space_need(&c->space, images + (c->o->level ? 0 : space_of_pages(c->in.data)), why) ||
	    snap_writer_open(&c->writer, c->to.fd, &h, &wo, c->to.what, why))
		return -1;
	convert_authenticate(c);
	config = snap_image_config(c->in.image, &len);
	return snap_writer_config(c->writer, config, len, why) ||
	       save_images_write(&c->images, c->writer, why) ? -1 : 0;
}

static int convert_write(struct convert *c, struct progress *progress, struct fail *why)
{
	struct convert_pages p = {
		.from = c->in.image, .to = c->writer, .space = &c->space, .progress = progress,
		.of = c->in.data,
	};
	const uint8_t *state;
	size_t         len;

	if (!(c->in.header.required & SNAP_STATE_ONLY) && convert_pages(&p, why))
		return -1;
	c->r->data = p.data;
	c->r->zero = p.zero;
	fault_point("vmsnap.converted");
	state = snap_image_state(c->in.image, &len);
	snap_writer_expect(c->writer, &c->in.digests);
	if (snap_writer_state(c->writer, state, len, why)) {
		if (why->kind != FAIL_CORRUPT)
			return -1;
		fail_locate(why, c->in.bytes - CONVERT_END_BYTES);
		return fail_prefix(why, "%s: ", c->in.what);
	}
	if (snap_writer_end(c->writer, &c->r->digests, why))
		return -1;
	c->r->bytes = snap_writer_bytes(c->writer);
	space_trim(&c->space, c->r->bytes);
	return 0;
}

static void convert_note(struct convert *c)
{
	struct convert_report *r = c->r;

	snprintf(r->vm, sizeof(r->vm), "%s", c->in.header.name);
	r->snapshot    = c->in.header.snapshot;
	r->bytes_in    = c->in.bytes;
	r->left_out    = c->in.left_out;
	r->images      = c->images.n;
	r->image_bytes = save_images_size(&c->images);
	r->encode_ns   = snap_writer_encode_ns(c->writer);
	r->wait_ns     = snap_writer_wait_ns(c->writer);
}

int convert_run(const struct options *o, struct progress *progress, struct convert_report *r,
		struct fail *why)
{
	uint64_t       begin = io_now_ns();
	struct convert c = { .o = o, .r = r, .to = DESTINATION_NONE };
	int            rc = -1;

	*r = (struct convert_report){ 0 };
	if (convert_open(&c, why))
		goto out;
	convert_key(&c);
	if (convert_in_read(&c.in, &c.to, c.has_key ? &c.key : NULL, why) ||
	    convert_writer(&c, why) || convert_write(&c, progress, why))
		goto out;
	convert_note(&c);
	fault_point("vmsnap.before-publish");
	rc = destination_publish(&c.to, why);
	fault_point("vmsnap.published");
out:
	snap_writer_close(c.writer);
	save_images_close(&c.images);
	convert_in_close(&c.in);
	destination_close(&c.to);
	hostkey_clear(&c.key);
	r->total_ns = io_now_ns() - begin;
	return rc;
}
