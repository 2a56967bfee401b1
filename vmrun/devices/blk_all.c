/* SPDX-License-Identifier: MIT */
#include "format/snapshot/disk_digest.h"
#include "libcommon/io.h"
#include "vmrun/devices/disk_sync.h"
#include "vmrun/devices/disk_writes.h"
#include "vmrun/devices/disks.h"
#include "vmrun/devices/virtio_blk.h"
#include "vmrun/vm.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* The next disk at or after *i, which moves behind it; NULL when there is none. */
static struct device *blk_next(struct vm *vm, unsigned *i)
{
	while (*i < vm->board->ndevices) {
		struct device *d = vm->board->devices[(*i)++];

		if (d->ops == &virtio_blk_ops)
			return d;
	}
	return NULL;
}

int blk_sizes(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next(vm, &i)); ) {
		uint64_t size, mtime_ns;

		if (disk_size(virtio_blk_sync(d)->disk->fd, &size, &mtime_ns, why))
			return fail_prefix(why, "disk %s: ", d->cfg.host);
		if (size < virtio_blk_bytes(d))
			return fail_set(why, FAIL_SYSTEM, "disk %s: truncated on the host: %" PRIu64
					" bytes, the guest expects %" PRIu64, d->cfg.host, size,
					virtio_blk_bytes(d));
	}
	return 0;
}

static void blk_writes(struct machine_host *host, int fd, bool flush)
{
	if (!disk_writes(fd, flush, &host->written, host->instance)) {
		host->written = 0;
		memset(host->instance, 0, sizeof(host->instance));
	}
}

int blk_fingerprint(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next(vm, &i)); ) {
		struct machine_host *host = machine_host_find(&vm->cfg, d->cfg.host);
		int                  fd   = virtio_blk_sync(d)->disk->fd;

		if (host && disk_fingerprint(fd, &host->size, &host->mtime_ns, host->digest, why))
			return fail_prefix(why, "disk %s: ", d->cfg.host);
		if (host)
			blk_writes(host, fd, true);
	}
	return 0;
}

void blk_sync_start(struct vm *vm, bool sample)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next(vm, &i)); )
		disk_sync_start(virtio_blk_sync(d), sample);
}

void blk_hold(struct vm *vm, bool hold)
{
	struct device *d;

	pthread_mutex_lock(&vm->machine_lock);
	for (unsigned i = 0; (d = blk_next(vm, &i)); )
		virtio_blk_hold(d, hold);
	pthread_mutex_unlock(&vm->machine_lock);
}

static bool blk_done(struct vm *vm, struct device *d, enum blk_wait what)
{
	bool done;

	if (what == BLK_WAIT_SYNCED)
		return !disk_sync_busy(virtio_blk_sync(d));
	pthread_mutex_lock(&vm->machine_lock);
	done = !virtio_blk_in_flight(d);
	pthread_mutex_unlock(&vm->machine_lock);
	return done;
}

bool blk_wait(struct vm *vm, enum blk_wait what, struct pollfd *others, unsigned n,
	      uint64_t until_ns)
{
	struct pollfd  p[9];
	struct device *d;
	uint64_t       taken;

	if (n > 8)
		n = 8;
	for (unsigned i = 0; (d = blk_next(vm, &i)); ) {
		while (!blk_done(vm, d, what)) {
			uint64_t now = io_now_ns();
			int      ms  = until_ns ? (int)((until_ns - now) / 1000000u) + 1 : -1;

			if (until_ns && now >= until_ns)
				return false;
			for (unsigned k = 0; k < n; k++)
				p[k] = others[k];
			p[n] = (struct pollfd){ .fd = virtio_blk_sync(d)->done_fd,
						.events = POLLIN };
			if (poll(p, n + 1, ms) < 0)
				continue;
			for (unsigned k = 0; k < n; k++)
				if ((others[k].revents = p[k].revents))
					return false;
			/* It may be of something that was over before: the next look decides. */
			if (p[n].revents && read(p[n].fd, &taken, sizeof(taken)) < 0)
				continue;
		}
	}
	return true;
}

int blk_synced(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next(vm, &i)); )
		if (disk_sync_result(virtio_blk_sync(d), why))
			return -1;
	return 0;
}

int blk_quiet(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next(vm, &i)); )
		if (!blk_done(vm, d, BLK_WAIT_QUIET))
			return fail_set(why, FAIL_SYSTEM,
					"disk %s: requests in flight at the pause deadline",
					d->cfg.host);
	return 0;
}

int blk_sampled(struct vm *vm, struct fail *why)
{
	struct device *d;

	if (blk_sizes(vm, why) || blk_synced(vm, why))
		return -1;
	for (unsigned i = 0; (d = blk_next(vm, &i)); ) {
		struct machine_host *host = machine_host_find(&vm->cfg, d->cfg.host);

		if (host && disk_sync_fingerprint(virtio_blk_sync(d), &host->size, &host->mtime_ns,
						  host->digest, why))
			return -1;
		if (host)      /* flushed by the same pass */
			blk_writes(host, virtio_blk_sync(d)->disk->fd, false);
	}
	vm->disks_known = true;
	return 0;
}

void blk_forget_samples(struct vm *vm)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next(vm, &i)); )
		disk_sync_forget(virtio_blk_sync(d));
}
