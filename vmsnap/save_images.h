/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_SAVE_IMAGES_H
#define VMSNAP_SAVE_IMAGES_H

#include "format/snapshot/images.h"
#include "format/snapshot/snapshot.h"
#include "libcommon/fail.h"

/* Kernel and initrd for --with-images: asked of vmrun before anything is written. */

struct lease;

struct save_images {
	unsigned n;
	struct save_image {
		const char *name;
		void       *data;      /* a mapping */
		uint64_t    len;
	} v[IMAGES_MAX];
};

/* All images of the machine. FAIL_PEER: vmrun has one of them no more, or another than m records.
 * save_images_close in any case. */
int save_images_fetch(struct save_images *im, struct lease *l, const struct machine *m, struct fail *why);
/* Bytes of the snapshot that they take. */
uint64_t save_images_bytes(const struct save_images *im);
int      save_images_write(const struct save_images *im, struct snap_writer *w, struct fail *why);
void     save_images_close(struct save_images *im);

#endif
