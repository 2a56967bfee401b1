/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtio_blk.h"

#include "format/snapshot/disk_digest.h"
#include "vmrun/devices/disk_sync.h"
#include "vmrun/devices/disk_writes.h"
#include "vmrun/devices/disks.h"

#include <inttypes.h>
#include <string.h>

/* What saves and moves need of a virtio-blk device: struct disk_ops of device.h. */

static int blk_disk_check_size(struct device *d, struct fail *why)
{
	uint64_t size, mtime_ns;

	if (disk_size(virtio_blk_sync(d)->disk->fd, &size, &mtime_ns, why))
		return fail_prefix(why, "disk %s: ", d->cfg.host);
	if (size < virtio_blk_bytes(d))
		return fail_set(why, FAIL_SYSTEM, "disk %s: truncated on the host: %" PRIu64
				" bytes, the guest expects %" PRIu64, d->cfg.host, size,
				virtio_blk_bytes(d));
	return 0;
}

static int blk_disk_fingerprint(struct device *d, struct machine_host *h, bool sampled,
				struct fail *why)
{
	struct disk_sync *s  = virtio_blk_sync(d);
	int               fd = s->disk->fd;

	if (sampled && disk_sync_fingerprint(s, &h->size, &h->mtime_ns, h->digest, why))
		return -1;
	if (!sampled && disk_fingerprint(fd, &h->size, &h->mtime_ns, h->digest, why))
		return fail_prefix(why, "disk %s: ", d->cfg.host);
	/* The count is of what has reached the device: a pass that samples has flushed already. */
	if (!disk_writes(fd, !sampled, &h->written, h->instance)) {
		h->written = 0;
		memset(h->instance, 0, sizeof(h->instance));
	}
	return 0;
}

static void blk_disk_sync_start(struct device *d, bool sample)
{
	disk_sync_start(virtio_blk_sync(d), sample);
}

static bool blk_disk_sync_busy(struct device *d)
{
	return disk_sync_busy(virtio_blk_sync(d));
}

static int blk_disk_sync_result(struct device *d, struct fail *why)
{
	return disk_sync_result(virtio_blk_sync(d), why);
}

static void blk_disk_sync_forget(struct device *d)
{
	disk_sync_forget(virtio_blk_sync(d));
}

static int blk_disk_done_fd(struct device *d)
{
	return virtio_blk_sync(d)->done_fd;
}

const struct disk_ops virtio_blk_disk_ops = {
	.check_size  = blk_disk_check_size,
	.fingerprint = blk_disk_fingerprint,
	.sync_start  = blk_disk_sync_start,
	.sync_busy   = blk_disk_sync_busy,
	.sync_result = blk_disk_sync_result,
	.sync_forget = blk_disk_sync_forget,
	.done_fd     = blk_disk_done_fd,
	.hold        = virtio_blk_hold,
	.in_flight   = virtio_blk_in_flight,
	.stalled     = virtio_blk_stalled,
};
