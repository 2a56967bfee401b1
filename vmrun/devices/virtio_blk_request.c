/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtio_blk_request.h"

#include "libcommon/bytes.h"
#include "vmrun/devices/disk_sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 16u
#define RANGE_BYTES  16u

#define RANGE_UNMAP  1u

struct blk_request *blk_request_make(struct memory *m, const struct virtq_chain *c,
				     const char **mistake)
{
	unsigned            n = c->nread + c->nwrite;
	struct blk_request *r;
	uint8_t             header[HEADER_BYTES];

	/* The driver may split the bytes into buffers as it likes (2.7.4): header and status are
	 * found by offset. */
	*mistake = "disk request without header or status";
	if (c->read_len < HEADER_BYTES || c->write_len < 1 ||
	    virtq_copy_out(m, c->seg, c->nread, 0, header, HEADER_BYTES))
		return NULL;
	*mistake = NULL;
	r = malloc(sizeof(*r) + n * sizeof(r->seg[0]));
	if (!r)
		return NULL;
	*r = (struct blk_request){
		.head = c->head, .type = get_le32(header), .sector = get_le64(header + 8),
			.nread = c->nread, .nwrite = c->nwrite,
		.read_len = c->read_len - HEADER_BYTES, .write_len = c->write_len - 1,
	};
	memcpy(r->seg, c->seg, n * sizeof(r->seg[0]));
	return r;
}

/* len bytes from the sector on lie on the disk, in whole sectors. */
static bool blk_within(uint64_t sector, uint64_t len, uint64_t capacity)
{
	return len % BLK_SECTOR == 0 && sector <= capacity && len / BLK_SECTOR <= capacity - sector;
}

/* Not for a flush: what it failed to write is gone from the page cache. */
static enum blk_status blk_written(int error)
{
	if (error == ENOSPC || error == EDQUOT)
		return BLK_NOSPC;
	return error ? BLK_IOERR : BLK_OK;
}

static enum blk_status blk_in(const struct blk_request *r, const struct disk *disk,
			      uint64_t capacity, struct memory *m, uint8_t *buf)
{
	if (r->write_len > BLK_REQUEST_MAX || !blk_within(r->sector, r->write_len, capacity))
		return BLK_IOERR;
	if (disk_read(disk, buf, r->write_len, r->sector * BLK_SECTOR))
		return BLK_IOERR;
	return virtq_copy_in(m, r->seg + r->nread, r->nwrite, 0, buf, r->write_len)
	       ? BLK_IOERR : BLK_OK;
}

static enum blk_status blk_out(const struct blk_request *r, const struct disk *disk,
			       uint64_t capacity, struct memory *m, uint8_t *buf)
{
	if (disk->readonly || r->read_len > BLK_REQUEST_MAX ||
	    !blk_within(r->sector, r->read_len, capacity))
		return BLK_IOERR;
	if (virtq_copy_out(m, r->seg, r->nread, HEADER_BYTES, buf, r->read_len))
		return BLK_IOERR;
	return blk_written(disk_write(disk, buf, r->read_len, r->sector * BLK_SECTOR));
}

static enum blk_status blk_id(const struct blk_request *r, const struct disk *disk,
			      struct memory *m)
{
	uint8_t id[BLK_ID_BYTES] = { 0 };

	memcpy(id, disk->name, strnlen(disk->name, sizeof(id)));
	if (r->write_len < sizeof(id))
		return BLK_IOERR;
	return virtq_copy_in(m, r->seg + r->nread, r->nwrite, 0, id, sizeof(id))
	       ? BLK_IOERR : BLK_OK;
}

static enum blk_status blk_range(const struct blk_request *r, const struct disk *disk,
				 uint64_t capacity, const uint8_t *range, uint8_t *buf, bool act)
{
	uint64_t sector = get_le64(range), len = (uint64_t)get_le32(range + 8) * BLK_SECTOR;
	uint32_t flags = get_le32(range + 12);
	bool     zero  = r->type == BLK_WRITE_ZEROES;

	if (flags & ~(zero ? RANGE_UNMAP : 0))
		return BLK_UNSUPP;
	if (len / BLK_SECTOR > (zero ? BLK_ZERO_MAX : BLK_DISCARD_MAX) ||
	    !blk_within(sector, len, capacity))
		return BLK_IOERR;
	if (!act)
		return BLK_OK;
	if (zero)
		return blk_written(disk_zero(disk, len, sector * BLK_SECTOR, flags & RANGE_UNMAP,
					     buf));
	return disk_discard(disk, len, sector * BLK_SECTOR) ? BLK_IOERR : BLK_OK;
}

static enum blk_status blk_ranges(const struct blk_request *r, const struct disk *disk,
				  uint64_t capacity, struct memory *m, uint8_t *buf)
{
	uint8_t         ranges[BLK_RANGES_MAX * RANGE_BYTES];
	enum blk_status status = BLK_OK;

	if (disk->readonly || r->read_len == 0 || r->read_len > sizeof(ranges) ||
	    r->read_len % RANGE_BYTES)
		return BLK_IOERR;
	if (virtq_copy_out(m, r->seg, r->nread, HEADER_BYTES, ranges, r->read_len))
		return BLK_IOERR;
	/* All ranges are checked before the first is done. */
	for (int act = 0; act < 2; act++)
		for (uint64_t at = 0; at < r->read_len && status == BLK_OK; at += RANGE_BYTES)
			status = blk_range(r, disk, capacity, ranges + at, buf, act);
	return status;
}

enum blk_status blk_request_run(const struct blk_request *r, struct disk_sync *sync,
				uint64_t capacity, struct memory *m, uint8_t *buf,
				uint32_t *written)
{
	const struct disk *disk = sync->disk;
	enum blk_status status;
	uint8_t         byte;

	switch (r->type) {
	case BLK_IN:
		status = blk_in(r, disk, capacity, m, buf);
		break;
	case BLK_OUT:
		status = blk_out(r, disk, capacity, m, buf);
		break;
	case BLK_FLUSH:
		status = disk_sync_guest_flush(sync) ? BLK_IOERR : BLK_OK;
		break;
	case BLK_GET_ID:
		status = blk_id(r, disk, m);
		break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		status = blk_ranges(r, disk, capacity, m, buf);
		break;
	default:
		status = BLK_UNSUPP;
		break;
	}
	*written = 0;
	/* What was copied from or to memory may not be the guest's. */
	if (memory_lost(m))
		return BLK_LOST;
	if (status == BLK_NOSPC)
		return status;
	byte = (uint8_t)status;
	virtq_copy_in(m, r->seg + r->nread, r->nwrite, r->write_len, &byte, 1);
	/* Only what was certainly written: the status alone when no data comes before it, all of a
	 * read that succeeded. */
	*written = r->write_len == 0 ? 1 : 0;
	if (status == BLK_OK && r->type == BLK_IN)
		*written = (uint32_t)r->write_len + 1;
	else if (status == BLK_OK && r->type == BLK_GET_ID)
		*written = BLK_ID_BYTES;
	return status;
}
