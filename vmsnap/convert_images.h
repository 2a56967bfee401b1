/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_CONVERT_IMAGES_H
#define VMSNAP_CONVERT_IMAGES_H

#include "vmsnap/save_images.h"
#include "vmsnap/temporary.h"

/* Kernel and initrd of a snapshot that is converted. Their pieces may be anywhere before its state
 * and alternate, and a writer takes each as a whole: they are collected in temporary files. */
struct convert_images {
	const struct destination *to;         /* where these files are */
	unsigned                  n;
	struct convert_image {
		const char *name;
		int         fd;
		uint64_t    len;
	} v[IMAGES_MAX];
};

void convert_images_open(struct convert_images *im, const struct destination *to);
/* A piece that a reader has verified; they come in order. */
int convert_images_piece(struct convert_images *im, const struct image_piece *p, struct fail *why);
/* All that were collected, mapped, always in the same order. */
int convert_images_map(const struct convert_images *im, struct save_images *out, struct fail *why);
void convert_images_close(struct convert_images *im);

#endif
