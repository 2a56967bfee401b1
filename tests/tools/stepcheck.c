/* SPDX-License-Identifier: MIT */
/* stepcheck FILE: looks at the one-step guest (tests/guests/step.c) inside a snapshot. In each
 * hart's slice the values of the pages must be equal but for exactly one step, at the place the
 * hart's own counter names; the pattern of each page must be whole. Prints "hart H steps N" a
 * hart, and "nonce N"; exit 1 names the first page that is wrong. */
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RAM_STATUS  (0x600000 / 4096)      /* pages from the start of RAM, as in step.c */
#define RAM_PAGES   (0x800000 / 4096)
#define PATTERN     0x5354455047554553ull

static int stepcheck_slice(struct snap_image *img, unsigned hart, const uint8_t *h,
			   struct fail *why)
{
	uint64_t steps = get_le64(h), first = get_le64(h + 8), count = get_le64(h + 16);
	uint8_t  page[PAGE_SIZE_4K];

	if (count == 0)
		return fail_set(why, FAIL_CORRUPT, "hart %u has no pages", hart);
	/* The guest stores to the page, then counts: saved in between, the page is one ahead of
	 * the counter. */
	uint64_t at = steps % count, round = steps / count;
	bool     ahead = false;

	for (uint64_t i = 0; i < count; i++) {
		enum page_kind kind;

		if (snap_image_page(img, 0, RAM_PAGES + first + i, page, &kind, why))
			return -1;
		uint8_t want = (uint8_t)(round + (i < at));

		if (i == at && page[0] == (uint8_t)(want + 1))
			ahead = true;
		else if (page[0] != want)
			return fail_set(why, FAIL_CORRUPT,
					"hart %u: page %" PRIu64 " of %" PRIu64 " holds %u, not %u"
					" (step %" PRIu64 ")",
					hart, i, count, page[0], want, steps);
		if (get_le64(page + 8) != ((first + i) ^ PATTERN))
			return fail_set(why, FAIL_CORRUPT,
					"hart %u: page %" PRIu64 " lost its pattern", hart, i);
	}
	printf("hart %u steps %" PRIu64 "%s\n", hart, steps, ahead ? " and a store" : "");
	return 0;
}

int main(int argc, char **argv)
{
	struct snap_image *img = NULL;
	struct fail        why = { 0 };
	uint8_t            status[PAGE_SIZE_4K];
	enum page_kind     kind;
	int                fd, rc = -1;

	if (argc != 2) {
		fprintf(stderr, "usage: stepcheck FILE\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fail_sys(&why, "%s", argv[1]);
		goto out;
	}
	if (snap_image_open(&img, fd, argv[1], &why) ||
	    snap_image_page(img, 0, RAM_STATUS, status, &kind, &why))
		goto out;
	if (memcmp(status, "STEPGUES", 8)) {
		fail_set(&why, FAIL_CORRUPT, "%s: no step guest in it", argv[1]);
		goto out;
	}
	uint64_t nharts = get_le64(status + 16);

	for (unsigned h = 0; h < nharts && h < 8; h++)
		if (stepcheck_slice(img, h, status + 32 + 64 * h, &why))
			goto out;
	printf("nonce %" PRIu64 "\n", get_le64(status + 24));
	rc = 0;
out:
	snap_image_close(img);
	if (fd >= 0)
		close(fd);
	return rc == 0 ? 0 : fail_report("stepcheck", &why);
}
