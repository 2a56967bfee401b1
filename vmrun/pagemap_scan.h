/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_PAGEMAP_SCAN_H
#define VMRUN_PAGEMAP_SCAN_H

#include "libcommon/pageset.h"

/* Adds the pages of 4096 bytes of a private file mapping of ours of which there is a private copy,
 * in memory or swapped out. Touches none of them. By PAGEMAP_SCAN (Linux 6.7), which skips what has
 * no page tables; on older kernels by reading 8 bytes for each page. The mapping has as many pages
 * as the set can have. -1: the host does not tell; some may have been added. */
int pagemap_private(const void *at, struct pageset *set);

#endif
