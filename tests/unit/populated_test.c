/* SPDX-License-Identifier: MIT */
/* Which blocks of a sparse memfd have pages: the work follows what is there, not the size. */
#include "libcommon/bitmap.h"
#include "libcommon/populated.h"
#include "tests/unit/tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES ((uint64_t)1 << 28)      /* 1 TiB */

static unsigned seeks;

/* Takes the place of the C library's, to count. */
off_t lseek(int fd, off_t at, int whence)
{
	seeks++;
	return syscall(SYS_lseek, fd, at, whence);
}

static void put(int fd, uint64_t page)
{
	if (pwrite(fd, "x", 1, (off_t)(page * 4096)) != 1)
		abort();
}

int main(void)
{
	uint64_t *blocks = calloc(populated_map_words(PAGES), sizeof(*blocks));
	int       fd     = memfd_create("ram", MFD_CLOEXEC), pair[2];
	uint64_t  first, end;

	if (!blocks || fd < 0 || ftruncate(fd, (off_t)(PAGES * 4096)) || pipe(pair))
		return 1;
	populated_look(blocks, fd, PAGES);
	ok(!populated_next(blocks, PAGES, 0, &first, &end) && seeks == 1,
	   "nothing is in an empty one, at one look");
	put(fd, 5);
	put(fd, POPULATED_PAGES * 77 + 3);
	put(fd, POPULATED_PAGES * 78);
	put(fd, PAGES - 1);
	seeks = 0;
	populated_look(blocks, fd, PAGES);
	ok(seeks <= 6, "of 8192 blocks four have pages: six looks at most");
	ok(populated_next(blocks, PAGES, 0, &first, &end) && first == 0 && end == POPULATED_PAGES,
	   "a block is found");
	ok(populated_next(blocks, PAGES, end, &first, &end) && first == POPULATED_PAGES * 77 &&
		   end == POPULATED_PAGES * 79,
	   "neighbours are one run");
	ok(populated_next(blocks, PAGES, first + 9, &first, &end) &&
		   first == POPULATED_PAGES * 77 + 9,
	   "it begins where one asks");
	ok(populated_next(blocks, PAGES, end, &first, &end) && end == PAGES &&
		   !populated_next(blocks, PAGES, end, &first, &end),
	   "the last one ends with the region");
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096 * 10))
		return 1;
	populated_look(blocks, fd, PAGES);
	ok(populated_next(blocks, PAGES, 0, &first, &end) && first == 0,
	   "a page that was punched out was written: its block stays");

	struct fail why;

	ok(populated_extent(fd, PAGES, 0, &first, &end, &why) == 1 &&
		   first == POPULATED_PAGES * 77 + 3 && end == first + 1,
	   "the first extent is exactly the page that has data");
	ok(populated_extent(fd, PAGES, first, &first, &end, &why) == 1 &&
		   first == POPULATED_PAGES * 77 + 3 && end == first + 1,
	   "an extent begins where one asks");
	ok(populated_extent(fd, PAGES, end, &first, &end, &why) == 1 &&
		   first == POPULATED_PAGES * 78 &&
		   populated_extent(fd, PAGES, end, &first, &end, &why) == 1 &&
		   first == PAGES - 1 && end == PAGES &&
		   populated_extent(fd, PAGES, end, &first, &end, &why) == 0,
	   "the walk goes from hole to hole to the region's end");
	ok(populated_extent(fd, POPULATED_PAGES * 78, POPULATED_PAGES * 77 + 4, &first, &end,
			    &why) == 0,
	   "data behind the region is none of it");
	ok(populated_extent(pair[0], 100, 0, &first, &end, &why) == -1 && why.kind == FAIL_SYSTEM,
	   "a file that cannot tell fails the walk");

	uint64_t small[2] = { 0 };

	populated_look(small, pair[0], 100);
	ok(populated_next(small, 100, 7, &first, &end) && first == 7 && end == 100,
	   "a file that can't tell has all; ends are cut to the region");
	free(blocks);
	return done_testing();
}
