/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_IMAGE_CACHE_H
#define VMMIGRATE_IMAGE_CACHE_H

#include "libcommon/fail.h"

#include <stdint.h>

/* Kernels and initrds that have come with moves, by content: files named by their SHA-256 in the folder `images` of the state
 * folder, mode 0400. Bounded: the ones that were used longest ago go. SHA-256 and not the tree's XXH3, since whoever moves a VM
 * here must not be able to plant another VM's kernel. */

#define IMAGE_SHA256_BYTES 32u

/* The SHA-256 of the first len bytes of fd. */
int image_sha256(int fd, uint64_t len, uint8_t out[IMAGE_SHA256_BYTES], struct fail *why);

/* The image, read and found right: a descriptor, at its begin. -1: not there. */
int image_cache_find(const uint8_t sha256[IMAGE_SHA256_BYTES], uint64_t len);

/* Keeps a copy of what fd holds, whose SHA-256 that is, then removes others until all have at most max bytes together. One that
 * is larger than that is not kept. */
int image_cache_keep(int fd, uint64_t len, const uint8_t sha256[IMAGE_SHA256_BYTES], uint64_t max, struct fail *why);

#endif
