/* SPDX-License-Identifier: MIT */
#include "vmrun/restore.h"

#include "vmrun/memory_file.h"
#include "vmrun/note.h"

#include <string.h>

/* --memory cow: memory is a private mapping of a snapshot of the flat layout, so that the VM starts
 * in the same time whatever its size, and VMs of one file share its pages. Header, configuration,
 * state and images are verified; memory is not, because it is not read. */

static int cow_header(const struct memory_file *f, const char *source, struct fail *why)
{
	uint8_t            header[SNAP_HEADER_BYTES];
	struct snap_header h;

	if (snap_header_load(f->fd, source, true, "vmrun --restore -", header, why))
		return -1;
	if (snap_header_read(&h, header, why))
		return fail_prefix(why, "%s: ", source);
	if (h.required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_REFUSED,
				"%s: snapshot without memory (saved with --state-only)", source);
	if (h.layout != SNAP_FLAT)
		return fail_set(why, FAIL_REFUSED,
				"%s: --memory cow requires the flat layout: use vmsnap convert "
				"--layout flat, or --memory copy", source);
	if (h.incomplete)
		return fail_set(why, FAIL_REFUSED,
				"%s: incomplete, or written to a pipe: --memory cow requires a "
				"finished file; use --memory copy", source);
	return 0;
}

static int cow_auth(struct restoring *r, struct fail *no_key, struct fail *why)
{
	struct hostkey k;
	int            rc;

	if (hostkey_open(&k, false, no_key))
		return 0;      /* none is authentic */
	rc = snap_image_auth(r->image, &k, &r->auth, &r->auth_all, why);
	hostkey_clear(&k);
	return rc;
}

/* Where each region of the configuration begins in the file. */
static int cow_regions(struct restoring *r, const struct machine *m, struct vm_backing *backing,
		       struct fail *why)
{
	for (uint32_t i = 0; i < m->nregions; i++)
		if (snap_image_ram(r->image, m->regions[i].id, &backing->offsets[i], why))
			return -1;
	return 0;
}

static int cow_open(struct restoring *r, struct machine *m, struct machine *recorded,
		    struct vm_backing *backing, struct fail *why)
{
	struct fail    no_key = { 0 };
	const uint8_t *fdt;
	size_t         len;

	if (memory_file_open(&backing->file, r->o->source, why) ||
	    cow_header(backing->file, r->o->source, why) ||
	    snap_image_open(&r->image, backing->file->fd, r->o->source, why) ||
	    cow_auth(r, &no_key, why))
		return -1;
	fdt = snap_image_config(r->image, &len);
	if (restore_machine(r, fdt, len, r->auth, &no_key, m, recorded, why))
		return -1;
	return cow_regions(r, m, backing, why);
}

static int cow_piece(void *arg, const struct image_piece *p, struct fail *why)
{
	return image_pieces_take(arg, p, why);
}

static int cow_load(struct restoring *r, struct fail *why)
{
	struct image_pieces images = restore_images(r);
	int                 rc     = snap_image_pieces(r->image, cow_piece, &images, why);

	image_pieces_close(&images);
	/* Last, so that all that was read is of one file. */
	if (rc || restore_own(r->o, r->auth, r->auth_all, why) || vm_memory_check(r->vm, why))
		return -1;
	note("%s: memory not verified: it is a mapping of %s, which must not be modified while "
	     "the VM runs", r->vm->cfg.name, r->o->source);
	return 0;
}

static const uint8_t *cow_state(const struct restoring *r, size_t *len)
{
	return snap_image_state(r->image, len);
}

static void cow_close(struct restoring *r)
{
	snap_image_close(r->image);
}

const struct restore_ops restore_cow = { cow_open, cow_load, cow_state, cow_close };
