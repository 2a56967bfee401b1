/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_SAMEFILE_H
#define LIBCOMMON_SAMEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Does writing to one write to the other? One inode; two nodes of one block device; a loop device,
 * or a partition of one, and the file behind it. Other stacked devices are not resolved. */
bool samefile(const struct stat *a, const struct stat *b);

/* The file behind a loop device: its path, and *st. False: not a loop device, or the host does not
 * tell. */
bool samefile_loop_backing(const struct stat *device, char *path, size_t capacity, struct stat *st);

#endif
