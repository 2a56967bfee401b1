/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DISK_WRITES_H
#define VMRUN_DEVICES_DISK_WRITES_H

#include <stdbool.h>
#include <stdint.h>

/* Instead of the mtime, which a block device does not have: how much has been written and
 * discarded through it, by anybody, as the kernel counts it (Documentation/block/stat.rst).
 * *written is in sectors of 512 bytes; the count is of one instance: this boot of this host, and
 * this attachment of the device. False: the kernel does not say, or fd is a regular file. flush:
 * what is in the page cache is written first, so that it counts. */
bool disk_writes(int fd, bool flush, uint64_t *written, uint8_t instance[16]);

#endif
