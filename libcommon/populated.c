/* SPDX-License-Identifier: MIT */
#include "libcommon/populated.h"

#include "libcommon/bitmap.h"

#include <errno.h>
#include <unistd.h>

#define PAGE_BYTES 4096u

static uint64_t populated_count(uint64_t npages)
{
	return npages / POPULATED_PAGES + (npages % POPULATED_PAGES != 0);
}

void populated_look(uint64_t *blocks, int fd, uint64_t npages)
{
	const uint64_t count = populated_count(npages),
		       bytes = (uint64_t)POPULATED_PAGES * PAGE_BYTES;

	for (uint64_t at = 0; at < count; at++) {
		off_t data;

		if (bitmap_test(blocks, at))
			continue;
		data = lseek(fd, (off_t)(at * bytes), SEEK_DATA);
		if (data < 0 && errno == ENXIO)     /* only a hole is left */
			return;
		if (data < 0) {
			bitmap_set_range(blocks, 0, count);
			return;
		}
		at = (uint64_t)data / bytes;
		if (at >= count)
			return;
		bitmap_set(blocks, at);
	}
}

bool populated_next(const uint64_t *blocks, uint64_t npages, uint64_t from, uint64_t *first,
		    uint64_t *end)
{
	uint64_t block, count;

	if (from >= npages || !bitmap_next_run(blocks, populated_count(npages),
					       from / POPULATED_PAGES, &block, &count))
		return false;
	*first = block * POPULATED_PAGES;
	*end   = (block + count) * POPULATED_PAGES;
	if (*first < from)
		*first = from;
	if (*end > npages)
		*end = npages;
	return true;
}
