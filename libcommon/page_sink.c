/* SPDX-License-Identifier: MIT */
#include "libcommon/page_sink.h"

#include "libcommon/io.h"
#include "libcommon/populated.h"

#include <fcntl.h>
#include <inttypes.h>

static int sink_seed(struct page_sink *s, struct fail *why)
{
	uint64_t first, end = 0;
	int      rc;

	while ((rc = populated_extent(s->fd, s->written.npages, end, &first, &end, why)) > 0)
		pageset_add(&s->written, first, end - first);
	return rc ? fail_prefix(why, "region %s: ", s->name) : 0;
}

int page_sink_open(struct page_sink *s, int fd, uint64_t npages, const char *name, struct fail *why)
{
	*s = (struct page_sink){ .fd = fd, .name = name };
	if (pageset_open(&s->written, npages, why))
		return fail_prefix(why, "region %s: ", name);
	return sink_seed(s, why);
}

void page_sink_close(struct page_sink *s)
{
	pageset_close(&s->written);
}

static int sink_zero(struct page_sink *s, uint64_t first, uint64_t count, struct fail *why)
{
	uint64_t end = first + count, at, n;

	while (pageset_next(&s->written, first, end, &at, &n)) {
		if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)(at * PAGE_SIZE_4K), (off_t)(n * PAGE_SIZE_4K)))
			return fail_sys(why, "region %s: zero pages %" PRIu64 "+%" PRIu64, s->name,
					at, n);
		pageset_drop(&s->written, at, n);
		first = at + n;
	}
	return 0;
}

int page_sink_batch(struct page_sink *s, const struct page_batch *b, struct fail *why)
{
	size_t data = 0;

	for (uint32_t i = 0; i < b->nruns; i++) {
		const struct page_run *run = &b->runs[i];
		size_t                 len = (size_t)run->count * PAGE_SIZE_4K;

		if (run->first > s->written.npages || run->count > s->written.npages - run->first)
			return fail_set(why, FAIL_CORRUPT,
					"region %s: pages %" PRIu64 "+%" PRIu32 " out of range",
					s->name, run->first, run->count);
		switch (run->kind) {
		case PAGE_ZERO:
			if (sink_zero(s, run->first, run->count, why))
				return -1;
			break;
		case PAGE_DATA:
			if (len > sizeof(b->data) - data)
				return fail_set(why, FAIL_CORRUPT,
						"region %s: more data pages listed than data"
						" present", s->name);
			if (io_pwrite(s->fd, b->pages + data, len, run->first * PAGE_SIZE_4K,
				      s->name, why))
				return -1;
			pageset_add(&s->written, run->first, run->count);
			data += len;
			break;
		default:
			return fail_set(why, FAIL_VERSION,
					"region %s: pages of a parent snapshot not supported",
					s->name);
		}
	}
	return 0;
}
