/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_INITRD_INTERNAL_H
#define VMRUN_BOOT_INITRD_INTERNAL_H

#include "vmrun/boot/cpio.h"

struct archive;

/* The bytes of the entry the archive stands at into e, which has none; at most max. what names it in *why. On failure e->data
 * is still the caller's to free. */
int initrd_archive_data(struct archive *a, struct cpio_entry *e, size_t max, const char *what, struct fail *why);

/* Compressed kernel modules as they are uncompressed: NAME.ko.xz, .zst, .gz to NAME.ko. */
int initrd_modules(struct cpio *c, struct fail *why);

#endif
