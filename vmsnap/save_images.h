/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_SAVE_IMAGES_H
#define VMSNAP_SAVE_IMAGES_H

#include "format/snapshot/images.h"
#include "format/snapshot/snapshot.h"
#include "libcommon/fail.h"

/* Kernel and initrd for --with-images. They are fetched from vmrun before anything is written, so
 * that a save that cannot have them fails early and leaves nothing. */

struct lease;

struct save_images {
	unsigned n;
	struct save_image {
		const char *name;
		void       *data;      /* a mapping */
		uint64_t    len;
	} v[IMAGES_MAX];
};

/* All images of the machine m. FAIL_PEER: vmrun no longer has one of them, or has another than m
 * records. save_images_close() in any case. */
int save_images_fetch(struct save_images *im, struct lease *l, const struct machine *m,
		      struct fail *why);
uint64_t save_images_size(const struct save_images *im);       /* bytes of the images */
uint64_t save_images_space(const struct save_images *im);      /* bytes of snapshot they take */
int      save_images_write(const struct save_images *im, struct snap_writer *w, struct fail *why);
void     save_images_close(struct save_images *im);

#endif
