/* SPDX-License-Identifier: MIT */
/* Any bytes as a snapshot file read at random. What a stream accepts a file must too, with the
 * same pages. */
#include "format/snapshot/snapshot.h"
#include "tests/fuzz/sparse.h"

#include <assert.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* 1: whole; pages of each kind in all regions, and which images. */
static int as_stream(int fd, uint64_t kinds[PAGE_PARENT + 1], bool images[2])
{
	struct snap_stream *s;
	struct chunk        c;
	struct fail         why = { 0 };
	const uint8_t      *payload;
	uint64_t            at;
	int                 rc;

	if (snap_stream_open(&s, fd, "fuzz", &why))
		return 0;
	while ((rc = snap_stream_next(s, &c, &payload, &at, &why)) > 0)
		;
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
		for (int k = PAGE_DATA; k <= PAGE_PARENT; k++)
			kinds[k] += snap_stream_pages(s, r, (enum page_kind)k);
	images[0] = snap_stream_has_image(s, "kernel");
	images[1] = snap_stream_has_image(s, "initrd");
	snap_stream_close(s);
	return rc == 0;
}

static void no_chunk(void *arg, const struct chunk *c, const uint8_t *payload)
{
	(void)arg, (void)c, (void)payload;
}

/* Every chunk in order: what a stream accepts a walk does, with the same images. */
static void walk(struct snap_image *s, int whole, const bool images[2])
{
	struct fail why = { 0 };
	int         rc  = snap_image_walk(s, no_chunk, NULL, &why);

	assert(rc == 0 || (why.kind != FAIL_NONE && why.what[0]));
	assert(!whole || (rc == 0 && snap_image_has_image(s, "kernel") == images[0] &&
			  snap_image_has_image(s, "initrd") == images[1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int         fd = -1;
	static uint8_t     page[PAGE_SIZE_4K];
	struct snap_image *s;
	struct fail        why = { 0 };
	enum page_kind     kind;
	uint64_t           streamed[PAGE_PARENT + 1] = { 0 }, indexed[PAGE_PARENT + 1] = { 0 };
	uint64_t           found = 0;
	bool               images[2] = { false, false }, sound = true;
	int                whole;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (!sparse_file(fd, data, len))
		return 0;
	whole = as_stream(fd, streamed, images);
	if (snap_image_open(&s, fd, "fuzz", &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		assert(!whole);
		return 0;
	}
	if (snap_image_index(s, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0] && !whole);
		sound = false;
	}
	for (uint32_t r = 0; sound && r < LIMIT_REGIONS; r++)
		for (int k = PAGE_DATA; k <= PAGE_PARENT; k++)
			indexed[k] += snap_image_pages(s, r, (enum page_kind)k);
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++) {
		for (uint64_t p = 0; p < 600; p++) {
			int rc = snap_image_page(s, r, p, page, &kind, &why);

			assert(rc == 0 || (why.kind != FAIL_NONE && why.what[0]));
			assert(rc == 0 || !whole || why.kind == FAIL_USAGE ||
			       why.kind == FAIL_REFUSED);
			found += rc == 0 && kind == PAGE_DATA;
		}
	}
	assert(!sound || found <= indexed[PAGE_DATA]);
	for (int k = PAGE_DATA; whole && k <= PAGE_PARENT; k++)
		assert(streamed[k] == indexed[k]);
	walk(s, whole, images);
	snap_image_close(s);
	return 0;
}
