/* SPDX-License-Identifier: MIT */
#include "libcommon/populated.h"

#include "libcommon/bitmap.h"
#include "libcommon/pages.h"

#include <errno.h>
#include <unistd.h>

/* The first byte of data at or after page `from`: 1; 0: only a hole is left; -1 with errno. */
static int populated_data(int fd, uint64_t from, off_t *data)
{
	*data = lseek(fd, (off_t)(from * PAGE_SIZE_4K), SEEK_DATA);
	if (*data < 0)
		return errno == ENXIO ? 0 : -1;
	return 1;
}

int populated_extent(int fd, uint64_t npages, uint64_t from, uint64_t *first, uint64_t *end,
		     struct fail *why)
{
	off_t data, hole;
	int   rc;

	if (from >= npages)
		return 0;
	rc = populated_data(fd, from, &data);
	if (rc < 0)
		return fail_sys(why, "SEEK_DATA");
	if (rc == 0)
		return 0;
	*first = (uint64_t)data / PAGE_SIZE_4K;
	if (*first >= npages)
		return 0;
	/* From the byte, not from its page: a page may begin with a hole, which would be found
	 * here. */
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return fail_sys(why, "SEEK_HOLE");
	*end = ((uint64_t)hole + PAGE_SIZE_4K - 1) / PAGE_SIZE_4K;
	if (*end > npages)
		*end = npages;
	return 1;
}

void populated_look(uint64_t *blocks, int fd, uint64_t npages)
{
	const uint64_t count = populated_count(npages);

	for (uint64_t at = 0; at < count; at++) {
		off_t data;
		int   rc;

		if (bitmap_test(blocks, at))
			continue;
		rc = populated_data(fd, at * POPULATED_PAGES, &data);
		/* A file that cannot tell may have data anywhere. */
		if (rc < 0)
			bitmap_set_range(blocks, 0, count);
		if (rc <= 0)
			return;
		at = (uint64_t)data / PAGE_SIZE_4K / POPULATED_PAGES;
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
