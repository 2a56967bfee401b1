/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_BOOT_IMAGES_H
#define VMRUN_BOOT_BOOT_IMAGES_H

#include "format/limits.h"
#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>

/* Kernel and initrd: kept in memory for resets, recorded as host resources "kernel" and
 * "initrd". */

struct vm;

#define IMAGE_MAX_BYTES ((size_t)LIMIT_IMAGE_BYTES)

/* Loads the host resource of that name (its path is set) into vm->images, and records size, time
 * and digest in vm->cfg. A digest that is recorded already must match: FAIL_REFUSED. For a path
 * from the command line: it may be a pipe, which is waited for. */
int images_load(struct vm *vm, const char *name, struct fail *why);

/* Makes sure that everything a boot needs is in memory; loads it if need be, from regular files and
 * folders only. FAIL_REFUSED names the command that provides what is missing. */
int images_need(struct vm *vm, struct fail *why);

/* What images_need() would find missing, without reading any file: a set of 1 << HOST_KERNEL and
 * 1 << HOST_INITRD. An image is available in memory, or as a file of the recorded size. */
unsigned images_lacking(const struct vm *vm);
/* For a VM that has just arrived: a line on standard error when its next reboot cannot be done. */
void images_tell(const struct vm *vm);

/* What a user specifies for an existing VM (h: name, class and path): read at once or refused. *out
 * is malloc'd; size, time and digest are set in *h. */
int images_read_new(struct machine_host *h, uint8_t **out, size_t *len, struct fail *why);

/* A memfd with the image, which is loaded if need be; the caller's. */
int images_give(struct vm *vm, const char *name, int *fd, size_t *len, struct fail *why);
/* Takes the image from a file or memfd of len bytes, from offset 0; its digest must be the recorded
 * one. */
int images_take(struct vm *vm, const char *name, int fd, size_t len, struct fail *why);
/* The same from memory, malloc'd: taken over, on failure too. */
int images_adopt(struct vm *vm, const char *name, uint8_t *data, size_t len, struct fail *why);

void images_close(struct vm *vm);

/* An initrd from what a user specifies, as an open file or folder; path is its name. A cpio
 * (compressed or not) is taken as it is; a folder, or any other archive that libarchive reads, is
 * packed into a newc cpio in memory, sorted, owned by 0:0. *out is malloc'd, at most
 * IMAGE_MAX_BYTES. */
int initrd_read_fd(int fd, const char *path, uint8_t **out, size_t *len, struct fail *why);

#endif
