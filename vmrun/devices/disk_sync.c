/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/disk_sync.h"

#include "format/snapshot/disk_digest.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "vmrun/devices/disks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void disk_sync_signal(struct disk_sync *s)
{
	uint64_t one = 1;

	if (write(s->done_fd, &one, sizeof(one)) < 0)
		return;     /* the counter is full: it is readable, which is all that is wanted */
}

void disk_sync_wrote(void *arg, uint64_t at, uint64_t len)
{
	struct disk_sync *s = arg;

	if (!s->open || !len)
		return;
	pthread_mutex_lock(&s->lock);
	s->written++;
	for (unsigned i = 0; s->samples && i < disk_sample_count(s->size); i++) {
		uint64_t from;
		size_t   n = disk_sample_at(s->size, i, &from);

		if (at < from + n && from < at + len)
			s->stale |= (uint64_t)1 << i;
	}
	pthread_mutex_unlock(&s->lock);
}

/* Flushes, for the guest or for a pass. Under s->flushing. */
static int disk_sync_flush(struct disk_sync *s)
{
	uint64_t covers;
	int      error;

	pthread_mutex_lock(&s->lock);
	covers = s->written;
	pthread_mutex_unlock(&s->lock);
	error = disk_flush(s->disk);
	pthread_mutex_lock(&s->lock);
	if (!error && covers > s->flushed)
		s->flushed = covers;
	pthread_mutex_unlock(&s->lock);
	return error;
}

int disk_sync_guest_flush(struct disk_sync *s)
{
	int error;

	pthread_mutex_lock(&s->flushing);
	fault_point("vmrun.disk.guest-flush");
	error = disk_sync_flush(s);
	pthread_mutex_lock(&s->lock);
	if (!error)
		error = s->untold;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->flushing);
	return error;
}

void disk_sync_told(struct disk_sync *s)
{
	pthread_mutex_lock(&s->lock);
	s->untold = 0;
	pthread_mutex_unlock(&s->lock);
}

/* ---- a pass ---- */

static int pass_untold(const struct disk_sync *s, int error, struct fail *why)
{
	errno = error;
	return fail_sys(why, "disk %s: earlier flush failed "
			"(the next flush request of the guest reports it)", s->disk->name);
}

static int pass_flush(struct disk_sync *s, struct fail *why)
{
	bool needed;
	int  error = 0, untold;

	pthread_mutex_lock(&s->flushing);
	pthread_mutex_lock(&s->lock);
	untold = s->untold;
	needed = !untold && s->flushed != s->written;
	s->flushes += needed;
	pthread_mutex_unlock(&s->lock);
	if (needed) {
		fault_point("vmrun.disk.flush");
		error = fault_hit("vmrun.disk.flush-fails") ? EIO : disk_sync_flush(s);
	}
	if (error) {
		pthread_mutex_lock(&s->lock);
		s->untold = error;
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&s->flushing);
	if (untold)
		return pass_untold(s, untold, why);
	errno = error;
	return error ? fail_sys(why, "disk %s: flush", s->disk->name) : 0;
}

/* A write that ends while its sample is read marks it stale again. */
static int pass_sample(struct disk_sync *s, unsigned i, struct fail *why)
{
	uint64_t at;
	size_t   len = disk_sample_at(s->size, i, &at);
	bool     stale;

	pthread_mutex_lock(&s->lock);
	stale = s->stale >> i & 1;
	s->stale &= ~((uint64_t)1 << i);
	s->reads += stale;
	pthread_mutex_unlock(&s->lock);
	if (!stale || io_pread(s->disk->fd, s->samples + (size_t)i * DISK_BLOCK, len, at, "samples",
			       why) == 0)
		return 0;
	pthread_mutex_lock(&s->lock);
	s->stale |= (uint64_t)1 << i;
	pthread_mutex_unlock(&s->lock);
	return fail_prefix(why, "disk %s: ", s->disk->name);
}

/* The size can change under us: the samples lie elsewhere then. */
static int pass_size(struct disk_sync *s, struct fail *why)
{
	uint64_t size, mtime_ns;

	if (disk_size(s->disk->fd, &size, &mtime_ns, why))
		return fail_prefix(why, "disk %s: ", s->disk->name);
	if (size < s->disk->size)
		return fail_set(why, FAIL_SYSTEM,
				"disk %s: truncated on the host: %" PRIu64
				" bytes, the guest expects %" PRIu64, s->disk->name, size,
				s->disk->size);
	pthread_mutex_lock(&s->lock);
	if (size != s->size)
		s->stale = UINT64_MAX;
	s->size     = size;
	s->mtime_ns = mtime_ns;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int pass_samples(struct disk_sync *s, struct fail *why)
{
	uint8_t *capacity = s->samples ? NULL : malloc((size_t)DISK_BLOCKS * DISK_BLOCK);

	if (!s->samples && !capacity) {
		errno = ENOMEM;
		return fail_sys(why, "disk %s: samples", s->disk->name);
	}
	pthread_mutex_lock(&s->lock);
	if (capacity) {
		s->samples = capacity;
		s->stale   = UINT64_MAX;
	}
	pthread_mutex_unlock(&s->lock);
	if (pass_size(s, why))
		return -1;
	for (unsigned i = 0; i < disk_sample_count(s->size); i++)
		if (pass_sample(s, i, why))
			return -1;
	return disk_samples_digest(s->size, s->samples, s->digest, why);
}

static void *disk_sync_main(void *arg)
{
	struct disk_sync *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct fail why    = { 0 };
		bool        sample = s->sample;

		if (!s->wanted && s->stop)
			break;
		if (!s->wanted) {
			pthread_cond_wait(&s->work, &s->lock);
			continue;
		}
		s->wanted = s->sample = false;
		pthread_mutex_unlock(&s->lock);
		bool good = pass_flush(s, &why) == 0 && (!sample || pass_samples(s, &why) == 0);

		pthread_mutex_lock(&s->lock);
		s->why     = why;
		s->sampled = good && sample;
		if (!s->keep && !s->wanted) {
			free(s->samples);
			s->samples = NULL;
		}
		s->busy = s->wanted;
		if (!s->busy)
			disk_sync_signal(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

void disk_sync_start(struct disk_sync *s, bool sample)
{
	pthread_mutex_lock(&s->lock);
	s->wanted = s->busy = true;
	s->sample = s->sample || sample;
	s->keep   = s->keep || sample;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
}

bool disk_sync_busy(struct disk_sync *s)
{
	bool busy;

	pthread_mutex_lock(&s->lock);
	busy = s->busy;
	pthread_mutex_unlock(&s->lock);
	return busy;
}

int disk_sync_result(struct disk_sync *s, struct fail *why)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->busy)
		rc = fail_set(why, FAIL_SYSTEM,
			      "disk %s: flush timed out",
			      s->disk->name);
	else if (s->why.kind != FAIL_NONE) {
		*why = s->why;
		rc   = -1;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int disk_sync_fingerprint(struct disk_sync *s, uint64_t *size, uint64_t *mtime_ns,
			  uint8_t digest[16], struct fail *why)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->sampled) {
		*size     = s->size;
		*mtime_ns = s->mtime_ns;
		memcpy(digest, s->digest, sizeof(s->digest));
	} else {
		rc = fail_set(why, FAIL_SYSTEM, "disk %s: not sampled", s->disk->name);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void disk_sync_forget(struct disk_sync *s)
{
	pthread_mutex_lock(&s->lock);
	s->keep = s->sampled = false;
	if (!s->busy) {      /* else the pass does it at its end */
		free(s->samples);
		s->samples = NULL;
	}
	pthread_mutex_unlock(&s->lock);
}

int disk_sync_open(struct disk_sync *s, const struct disk *disk, struct fail *why)
{
	*s = (struct disk_sync){ .disk = disk, .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (s->done_fd < 0)
		return fail_sys(why, "disk %s: eventfd", disk->name);
	/* What another process has written to it lies in the page cache too: the first flush of a
	 * writable disk is needed. */
	s->written = !disk->readonly;
	pthread_mutex_init(&s->flushing, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	errno = pthread_create(&s->thread, NULL, disk_sync_main, s);
	if (errno) {
		fail_sys(why, "disk %s: thread", disk->name);
		io_close(&s->done_fd);
		return -1;
	}
	s->open = true;
	return 0;
}

void disk_sync_close(struct disk_sync *s)
{
	if (!s->open)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->flushing);
	free(s->samples);
	io_close(&s->done_fd);
	s->open = false;
}
