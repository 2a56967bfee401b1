/* SPDX-License-Identifier: MIT */
#include "vmrun/pagemap_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SCAN_PAGE    4096u
#define SCAN_REGIONS 512u
#define READ_PAGES   65536u      /* 512 KiB of entries at once */

/* Linux Documentation/admin-guide/mm/pagemap.rst; in headers since 6.7. */
struct scan_region { uint64_t start, end, categories; };
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL   _IOWR('f', 16, struct scan_arg)
#define SCAN_FILE    ((uint64_t)1 << 2)
#define SCAN_PRESENT ((uint64_t)1 << 3)
#define SCAN_SWAPPED ((uint64_t)1 << 4)

#define ENTRY_FILE    ((uint64_t)1 << 61)      /* of a file, or shared anonymous */
#define ENTRY_SWAPPED ((uint64_t)1 << 62)
#define ENTRY_PRESENT ((uint64_t)1 << 63)

/* 1: done; 0: this kernel does not have it; -1. */
static int pagemap_scan(int fd, uint64_t at, struct pageset *set)
{
	struct scan_region *found = calloc(SCAN_REGIONS, sizeof(*found));
	struct scan_arg     arg   = {
		.size = sizeof(arg), .start = at, .end = at + set->npages * SCAN_PAGE,
		.vec = (uint64_t)(uintptr_t)found, .vec_len = SCAN_REGIONS,
		/* In memory or swapped out, and not the file's. */
		.category_inverted = SCAN_FILE, .category_mask = SCAN_FILE,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT | SCAN_SWAPPED,
	};
	const uint64_t      first = arg.start;
	int                 n     = found ? 0 : -1;

	while (n >= 0 && arg.start < arg.end) {
		n = ioctl(fd, SCAN_IOCTL, &arg);
		for (int i = 0; i < n; i++)
			pageset_add(set, (found[i].start - first) / SCAN_PAGE,
				    (found[i].end - found[i].start) / SCAN_PAGE);
		if (n >= 0 && arg.walk_end <= arg.start)
			n = -1;
		arg.start = arg.walk_end;
	}
	const bool lacks = n < 0 && (errno == ENOTTY || errno == EINVAL);

	free(found);
	return n >= 0 ? 1 : lacks ? 0 : -1;
}

static int pagemap_read(int fd, uint64_t at, struct pageset *set)
{
	uint64_t *entries = malloc(READ_PAGES * sizeof(*entries));
	int       rc      = entries ? 0 : -1;

	for (uint64_t page = 0; rc == 0 && page < set->npages; page += READ_PAGES) {
		uint64_t n   = set->npages - page < READ_PAGES ? set->npages - page : READ_PAGES;
		size_t   len = (size_t)n * sizeof(*entries);

		if (pread(fd, entries, len, (off_t)((at / SCAN_PAGE + page) * sizeof(*entries))) !=
		    (ssize_t)len)
			rc = -1;
		for (uint64_t i = 0; rc == 0 && i < n; i++)
			if (entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED) &&
			    !(entries[i] & ENTRY_FILE))
				pageset_add(set, page + i, 1);
	}
	free(entries);
	return rc;
}

int pagemap_private(const void *at, struct pageset *set)
{
	int fd, rc;

	if (sysconf(_SC_PAGESIZE) != SCAN_PAGE)
		return -1;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = pagemap_scan(fd, (uint64_t)(uintptr_t)at, set);
	if (rc == 0)
		rc = pagemap_read(fd, (uint64_t)(uintptr_t)at, set);
	close(fd);
	return rc < 0 ? -1 : 0;
}
