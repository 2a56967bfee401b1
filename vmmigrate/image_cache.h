/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_IMAGE_CACHE_H
#define VMMIGRATE_IMAGE_CACHE_H

#include "libcommon/fail.h"

#include <stdint.h>

/* Kernels and initrds that were received with moves, by content: files named by their SHA-256 in
 * the folder `images` of the state folder, mode 0400. Bounded: the least recently used are
 * removed. SHA-256 and not the tree's XXH3-128, because whoever moves a VM here must not be able
 * to make a file that another VM then takes for its kernel. */

#define IMAGE_SHA256_BYTES 32u

/* The SHA-256 of the first len bytes of fd. */
int image_cache_sha256(int fd, uint64_t len, uint8_t out[IMAGE_SHA256_BYTES], struct fail *why);

/* The image, after its digest was checked: a descriptor. -1: not in the cache. */
int image_cache_find(const uint8_t sha256[IMAGE_SHA256_BYTES], uint64_t len);

/* Adds a copy of what fd holds, whose SHA-256 that is, then removes others until all have at
 * most max bytes together. An image larger than that is not added. */
int image_cache_keep(int fd, uint64_t len, const uint8_t sha256[IMAGE_SHA256_BYTES], uint64_t max,
		     struct fail *why);

#endif
