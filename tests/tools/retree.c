/* SPDX-License-Identifier: MIT */
/* retree [--keep-macs] IN OUT NODE PROPERTY CELL VALUE: copies a snapshot, the tree that has the
 * property changed: cell CELL (32 bits) of it is VALUE. A machine that is like the saved one but
 * for what a test is about. --keep-macs: with the MACs of IN, as a forger would copy it. Without it
 * OUT has none. */
#include "format/snapshot/auth.h"
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "tests/unit/snapshot_guest.h"

#include <err.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct retree {
	const char *node, *property;
	uint32_t    cell, value;
	bool        changed;
	unsigned    nmacs;
	uint8_t     macs[2][AUTH_BYTES];      /* of IN */
};

/* A copy, malloc'd, changed if the property is in it. */
static uint8_t *changed(struct retree *r, const uint8_t *tree, size_t len)
{
	uint8_t *copy = malloc(len);
	fdt32_t  value = cpu_to_fdt32(r->value);
	int      node, rc;

	if (!copy)
		err(1, "memory");
	memcpy(copy, tree, len);
	node = fdt_path_offset(copy, r->node);
	if (node < 0 || !fdt_getprop(copy, node, r->property, NULL))
		return copy;
	r->changed = true;
	rc   = fdt_setprop_inplace_namelen_partial(copy, node, r->property,
						   (int)strlen(r->property), r->cell * 4, &value,
						   4);
	if (rc < 0)
		errx(1, "%s %s: %s", r->node, r->property, fdt_strerror(rc));
	return copy;
}

static int copy_chunks(struct snap_stream *in, struct snap_writer *out, struct retree *r,
		       struct fail *why)
{
	struct chunk   c;
	const uint8_t *payload;
	const uint8_t *whole;
	uint8_t       *tree;
	uint64_t       at;
	size_t         len;
	int            rc;

	while ((rc = snap_stream_next(in, &c, &payload, &at, why)) > 0) {
		switch (c.type) {
		case CHUNK_CONFIG:
			tree = changed(r, payload, c.len);
			rc   = snap_writer_config(out, tree, c.len, why);
			free(tree);
			break;
		case CHUNK_STATE:      /* all of it is there with its last piece */
			whole = snap_stream_state(in, &len);
			if (!whole)
				break;
			tree = changed(r, whole, len);
			rc   = snap_writer_state(out, tree, len, why);
			free(tree);
			break;
		case CHUNK_AUTH:
			if (r->nmacs < 2)
				memcpy(r->macs[r->nmacs++], payload, AUTH_BYTES);
			break;
		case CHUNK_PAGES: rc = guest_copy(out, snap_stream_batch(in), why); break;
		case CHUNK_ROUND_END:
			rc = snap_writer_round_end(out, why);
			break;
		}
		if (rc < 0)
			return -1;
	}
	return rc;
}

/* OUT was written under a key of no meaning: IN's MACs come into their places. */
static void put_macs(int fd, const struct retree *r)
{
	struct fail why;
	uint8_t    *f;
	size_t      len, at = SNAP_HEADER_BYTES;
	unsigned    n = 0;

	if (lseek(fd, 0, SEEK_SET) || io_slurp(fd, &f, &len, (size_t)1 << 30, "OUT", &why))
		errx(1, "OUT");
	for (; at < len && n < r->nmacs; at = guest_next(f, at))
		if (get_le16(f + at + 4) == CHUNK_AUTH)
			memcpy(f + at + CHUNK_HEADER_BYTES, r->macs[n++], AUTH_BYTES);
	guest_rehash(f, len);
	if (n != 2 || io_pwrite(fd, f, len, 0, "OUT", &why))
		errx(1, "no two MACs in IN, or OUT");
	free(f);
}

int main(int argc, char **argv)
{
	static const struct hostkey no_key;
	struct snap_stream *in;
	struct snap_writer *out;
	struct fail         why;
	struct snap_digests digests;
	bool                macs = argc > 1 && !strcmp(argv[1], "--keep-macs");

	if (macs) {
		argv++;
		argc--;
	}
	if (argc != 7)
		errx(2, "usage: retree [--keep-macs] IN OUT NODE PROPERTY CELL VALUE");
	struct retree r = {
		.node = argv[3], .property = argv[4], .cell = (uint32_t)strtoul(argv[5], NULL, 0),
		.value = (uint32_t)strtoul(argv[6], NULL, 0),
	};
	int from = open(argv[1], O_RDONLY | O_CLOEXEC);
	int to   = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (from < 0 || to < 0)
		err(1, "%s", from < 0 ? argv[1] : argv[2]);
	if (snap_stream_open(&in, from, argv[1], &why) ||
	    snap_writer_open(&out, to, snap_stream_header(in), NULL, argv[2], &why))
		return fail_report("retree", &why);
	if (macs)
		snap_writer_key(out, &no_key);
	if (copy_chunks(in, out, &r, &why) || snap_writer_end(out, &digests, &why))
		return fail_report("retree", &why);
	if (!r.changed)
		errx(1, "%s %s: not in either tree", r.node, r.property);
	snap_writer_close(out);
	snap_stream_close(in);
	if (macs)
		put_macs(to, &r);
	return 0;
}
