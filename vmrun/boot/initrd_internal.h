/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_INITRD_INTERNAL_H
#define VMRUN_BOOT_INITRD_INTERNAL_H

#include "vmrun/boot/cpio.h"

struct archive;

/* Reads the bytes of the archive's current entry into e, which has none; at most max. what is its
 * name in *why. On failure e->data is the caller's to free. */
int initrd_archive_data(struct archive *a, struct cpio_entry *e, size_t max, const char *what,
			struct fail *why);

/* Replaces compressed kernel modules by uncompressed ones: NAME.ko.xz, .zst, .gz by NAME.ko. */
int initrd_modules(struct cpio *c, struct fail *why);

#endif
