/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_SPARSE_H
#define TESTS_FUZZ_SPARSE_H

/* An input as a file. One that begins with 'S' is a sparse file in short, as a flat snapshot has at
 * least 2 MiB: 'S', number of extents (1), offset and length of each (4 and 4, little-endian), then
 * their bytes. Any other is the file. */
#include "libcommon/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#define SPARSE_MAX (16u << 20)

/* Its size; 0: none. The offset of fd is 0 then. */
static inline size_t sparse_file(int fd, const uint8_t *data, size_t len)
{
	size_t n = len > 1 ? data[1] : 0, at = 2 + n * 8, size = 0;

	if (ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET))
		return 0;
	if (len == 0 || data[0] != 'S')
		return pwrite(fd, data, len, 0) == (ssize_t)len ? len : 0;
	for (size_t i = 0; i < n && at <= len; i++) {
		size_t to = get_le32(data + 2 + i * 8), want = get_le32(data + 6 + i * 8);

		want = want < len - at ? want : len - at;
		if (to > SPARSE_MAX || pwrite(fd, data + at, want, (off_t)to) != (ssize_t)want)
			return 0;
		at += want;
		size = size > to + want ? size : to + want;
	}
	return size;
}

#endif
