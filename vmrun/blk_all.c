/* SPDX-License-Identifier: MIT */
#include "vmrun/blk_all.h"

#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <poll.h>
#include <unistd.h>

#define BLK_OTHERS_MAX 8u

struct device *blk_next_disk(struct vm *vm, unsigned *i)
{
	while (*i < vm->board->ndevices) {
		struct device *d = vm->board->devices[(*i)++];

		if (d->ops->disk)
			return d;
	}
	return NULL;
}

int blk_sizes(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		if (d->ops->disk->check_size(d, why))
			return -1;
	return 0;
}

static int blk_fingerprints(struct vm *vm, bool sampled, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); ) {
		struct machine_host *host = machine_host_find(&vm->cfg, d->cfg.host);

		if (host && d->ops->disk->fingerprint(d, host, sampled, why))
			return -1;
	}
	return 0;
}

int blk_fingerprint(struct vm *vm, struct fail *why)
{
	return blk_fingerprints(vm, false, why);
}

void blk_sync_start(struct vm *vm, bool sample)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		d->ops->disk->sync_start(d, sample);
}

void blk_hold(struct vm *vm, bool hold)
{
	struct device *d;

	pthread_mutex_lock(&vm->machine_lock);
	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		d->ops->disk->hold(d, hold);
	pthread_mutex_unlock(&vm->machine_lock);
}

static bool blk_done(struct device *d, enum blk_wait what)
{
	bool done;

	if (what == BLK_WAIT_SYNCED)
		return !d->ops->disk->sync_busy(d);
	device_lock(d);
	done = !d->ops->disk->in_flight(d);
	device_unlock(d);
	return done;
}

/* Waits on done_fd for what is not done yet. False: see blk_wait. */
static bool blk_wait_disk(struct device *d, enum blk_wait what, struct pollfd *others, unsigned n,
			  uint64_t until_ns)
{
	struct pollfd p[BLK_OTHERS_MAX + 1];
	uint64_t      taken;

	while (!blk_done(d, what)) {
		uint64_t now = io_now_ns();
		int      ms  = until_ns ? (int)((until_ns - now) / 1000000u) + 1 : -1;

		if (until_ns && now >= until_ns)
			return false;
		for (unsigned k = 0; k < n; k++)
			p[k] = others[k];
		p[n] = (struct pollfd){ .fd = d->ops->disk->done_fd(d), .events = POLLIN };
		if (poll(p, n + 1, ms) < 0)
			continue;
		for (unsigned k = 0; k < n; k++)
			if ((others[k].revents = p[k].revents))
				return false;
		/* The signal may be of something that ended before: the next look decides. */
		if (p[n].revents && read(p[n].fd, &taken, sizeof(taken)) < 0)
			continue;
	}
	return true;
}

bool blk_wait(struct vm *vm, enum blk_wait what, struct pollfd *others, unsigned n,
	      uint64_t until_ns)
{
	struct device *d;

	if (n > BLK_OTHERS_MAX)
		n = BLK_OTHERS_MAX;
	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		if (!blk_wait_disk(d, what, others, n, until_ns))
			return false;
	return true;
}

int blk_synced(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		if (d->ops->disk->sync_result(d, why))
			return -1;
	return 0;
}

int blk_quiet(struct vm *vm, struct fail *why)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		if (!blk_done(d, BLK_WAIT_QUIET))
			return fail_set(why, FAIL_SYSTEM,
					"disk %s: requests in flight at the pause deadline",
					d->cfg.host);
	return 0;
}

int blk_sampled(struct vm *vm, struct fail *why)
{
	if (blk_sizes(vm, why) || blk_synced(vm, why) || blk_fingerprints(vm, true, why))
		return -1;
	vm->disks_known = true;
	return 0;
}

void blk_forget_samples(struct vm *vm)
{
	struct device *d;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); )
		d->ops->disk->sync_forget(d);
}
