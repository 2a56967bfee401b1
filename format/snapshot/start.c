/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/io.h"

/* How a snapshot begins, and what is often given instead of one. */

static const struct {
	const char *tool;
	uint8_t     magic[6];
	uint8_t     len;
} compressions[] = {
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4 },
	{ "zstd", { 0x50, 0x2a, 0x4d, 0x18 }, 4 },      /* pzstd begins with a skippable frame */
	{ "gzip", { 0x1f, 0x8b }, 2 },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6 },
	{ "bzip2", { 'B', 'Z', 'h' }, 3 },
	{ "lz4", { 0x04, 0x22, 0x4d, 0x18 }, 4 },
	{ "lzip", { 'L', 'Z', 'I', 'P' }, 4 },
};

static const char *compression_of(const uint8_t *start, size_t len)
{
	for (size_t i = 0; i < sizeof(compressions) / sizeof(compressions[0]); i++)
		if (len >= compressions[i].len &&
		    memcmp(start, compressions[i].magic, compressions[i].len) == 0)
			return compressions[i].tool;
	return NULL;
}

int snap_header_load(int fd, const char *what, bool named, const char *command,
		     uint8_t out[SNAP_HEADER_BYTES], struct fail *why)
{
	static const uint8_t start[4] = { 0x89, 'V', 'M', 'S' };
	const char          *tool;
	size_t               got;

	if (io_read_some(fd, out, SNAP_HEADER_BYTES, &got, what, why))
		return -1;
	tool = compression_of(out, got);
	if (tool)
		return fail_set(why, FAIL_CORRUPT, "%s: compressed with %s: use %s -dc %s | %s",
				what, tool, tool, named ? what : "FILE", command);
	if (got == SNAP_HEADER_BYTES)
		return 0;
	if (got >= sizeof(start) && memcmp(out, start, sizeof(start)))
		return fail_at(why, FAIL_CORRUPT, 0, "%s: not a snapshot", what);
	return fail_at(why, FAIL_CORRUPT, got, "%s: unexpected end of snapshot", what);
}
