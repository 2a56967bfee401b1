/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_IMAGE_PIECES_H
#define VMRUN_BOOT_IMAGE_PIECES_H

#include "format/snapshot/images.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kernel and initrd as they come with a snapshot, piece by piece. Memory is allocated as bytes
 * come, not by the size that the snapshot claims. */

struct vm;

enum { IMAGE_KERNEL, IMAGE_INITRD };

struct image_pieces {
	struct vm *vm;
	bool       given[IMAGES_MAX];      /* specified by the user: the snapshot's is ignored */
	struct image_gathered {
		uint8_t *data;
		size_t   len, capacity;
	} v[IMAGES_MAX];
};

/* A piece as images_reader_piece() gives it, so in order. The last one makes the image the VM's
 * (images_adopt()). Without control_lock. */
int  image_pieces_take(struct image_pieces *p, const struct image_piece *piece, struct fail *why);
void image_pieces_close(struct image_pieces *p);

#endif
