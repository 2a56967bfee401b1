/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtio_blk_internal.h"

#include "format/state/state_virtio_blk.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/devices/virtio_blk_request.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLK_DRAIN_NS UINT64_C(10000000000)     /* as long as a vCPU has to stop */

#define F_SIZE_MAX     ((uint64_t)1 << 1)
#define F_SEG_MAX      ((uint64_t)1 << 2)
#define F_RO           ((uint64_t)1 << 5)
#define F_BLK_SIZE     ((uint64_t)1 << 6)
#define F_FLUSH        ((uint64_t)1 << 9)
#define F_DISCARD      ((uint64_t)1 << 13)
#define F_WRITE_ZEROES ((uint64_t)1 << 14)

/* --- the threads --- */

static struct blk_request *blk_next(struct blk *b)
{
	struct blk_request *r = b->first;

	b->first = r->next;
	if (!b->first)
		b->last = &b->first;
	if (!r->again)
		b->waiting--;
	b->busy++;
	return r;
}

static void blk_ended(struct blk *b)
{
	b->busy--;
	if (!b->busy) {
		pthread_cond_broadcast(&b->idle);
		if (b->held)
			disk_sync_signal(&b->sync);
	}
}

static void blk_done(struct blk *b, const struct blk_request *r, enum blk_status status,
		     uint32_t written)
{
	b->requests++;
	b->errors += status != BLK_OK;
	/* While the guest resets the device it does not see the status of its requests. */
	if (status == BLK_IOERR && r->type == BLK_FLUSH && !b->v.draining)
		disk_sync_told(&b->sync);
	if (status == BLK_OK && r->type == BLK_IN)
		b->bytes_read += r->write_len;
	if (status == BLK_OK && r->type == BLK_OUT)
		b->bytes_written += r->read_len;
	virtq_push(&b->v.q[0], r->head, written);
	virtio_used(&b->v, 0);
	blk_ended(b);
}

static void *blk_thread(void *arg)
{
	struct blk_worker *w  = arg;
	struct blk        *b  = w->b;
	struct device     *d  = &b->v.d;

	device_lock(d);
	while (!b->stop) {
		struct blk_request *r;
		enum blk_status     status;
		uint32_t            written;

		if (!b->first || b->held || b->stalled || memory_lost(d->host->memory)) {
			pthread_cond_wait(&b->work, d->host->lock);
			continue;
		}
		r = blk_next(b);
		device_unlock(d);
		status = blk_request_run(r, &b->sync, b->s.capacity, d->host->memory, w->buf,
					 &written);
		device_lock(d);
		if (status == BLK_NOSPC) {
			blk_kept_stall(b, r);
			blk_ended(b);
		} else if (status == BLK_LOST) {
			blk_ended(b);      /* never completed: the VM is paused for good */
		} else {
			blk_done(b, r, status, written);
		}
		free(r);
	}
	device_unlock(d);
	return NULL;
}

/* --- the device --- */

static void blk_kick(struct virtio *v, unsigned queue)
{
	struct blk        *b = (struct blk *)v;
	struct virtqueue  *q = &v->q[queue];
	struct virtq_chain c;
	const char        *mistake;
	int                rc;

	/* Bounded: nothing completes while we hold the lock, so at most the size of the queue. */
	do {
		while ((rc = virtq_pop(q, &c, &mistake)) == 1) {
			struct blk_request *r = blk_request_make(v->d.host->memory, &c, &mistake);

			if (!r) {
				virtq_unpop(q, 1);
				rc = -1;
				if (!mistake)
					mistake = "host: out of memory";
				break;
			}
			*b->last = r;
			b->last  = &r->next;
			b->waiting++;
			pthread_cond_signal(&b->work);
		}
	} while (rc == 0 && virtq_rearm(q));
	if (rc < 0)
		virtio_broken(v, mistake);
}

/* Requests that have not begun go back into the ring: they are the last popped, so counting
 * identifies them, and the next kick takes them again. A pause then waits only for what the host's
 * disk is doing already. */
static void blk_put_back(struct blk *b)
{
	struct blk_request *r;

	virtq_unpop(&b->v.q[0], b->waiting);
	while ((r = b->first)) {
		b->first = r->next;
		if (r->again)
			blk_kept_add(b, r);
		free(r);
	}
	b->last    = &b->first;
	b->waiting = 0;
}

/* False when requests are in flight still at until_ns. */
static bool blk_drain_until(struct blk *b, uint64_t until_ns)
{
	struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000u),
				  .tv_nsec = (long)(until_ns % 1000000000u) };

	while (b->busy)
		if (pthread_cond_timedwait(&b->idle, b->v.d.host->lock, &until) == ETIMEDOUT)
			return !b->busy;
	return true;
}

static void blk_drain(struct virtio *v)
{
	struct blk *b = (struct blk *)v;

	blk_put_back(b);
	while (b->busy)
		pthread_cond_wait(&b->idle, v->d.host->lock);
	blk_kept_forget(b);
}

static uint64_t blk_features(const struct virtio *v)
{
	const struct blk *b = (const struct blk *)v;

	return F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (b->disk.readonly
								? F_RO
								: F_DISCARD | F_WRITE_ZEROES);
}

static size_t blk_config(const struct virtio *v, uint8_t out[VIRTIO_CONFIG_MAX])
{
	const struct blk *b = (const struct blk *)v;

	put_le64(out, b->s.capacity);
	put_le32(out + 8, BLK_SIZE_MAX);
	put_le32(out + 12, BLK_SEG_MAX);
	put_le32(out + 20, BLK_SECTOR);
	if (b->s.readonly)
		return 60;
	put_le32(out + 36, BLK_DISCARD_MAX);
	put_le32(out + 40, BLK_RANGES_MAX);
	put_le32(out + 44, 1);                   /* discard_sector_alignment */
	put_le32(out + 48, BLK_ZERO_MAX);
	put_le32(out + 52, BLK_RANGES_MAX);
	out[56] = 1;                             /* write_zeroes_may_unmap */
	return 60;
}

static int blk_post_load(struct virtio *v, struct fail *why)
{
	struct blk *b = (struct blk *)v;

	/* The guest sees a disk that has grown at the device's next reset. */
	if (b->s.capacity > b->disk.size / BLK_SECTOR)
		return fail_set(why, FAIL_REFUSED,
				"disk %s: size differs: this host has %" PRIu64
				" bytes, the guest expects %" PRIu64, b->disk.name, b->disk.size,
				b->s.capacity * BLK_SECTOR);
	if (b->s.readonly != b->disk.readonly)
		return fail_set(why, FAIL_REFUSED,
				"disk %s: access mode differs: %s on this host, %s in the guest",
				b->disk.name, b->disk.readonly ? "read-only" : "writable",
				b->s.readonly ? "read-only" : "writable");
	if (b->s.kept > v->q[0].s.size || (b->s.kept && !v->q[0].s.ready))
		return fail_set(why, FAIL_CORRUPT,
				"disk %s: number of pending requests exceeds the queue size",
				b->disk.name);
	b->parked = true;
	return 0;
}

static const struct virtio_class blk_class = {
	.id       = 2,
	.nqueues  = 1,
	.table    = &virtio_blk_state_table,
	.state_at = offsetof(struct blk, s),
	.features = blk_features,
	.config   = blk_config,
	.kick     = blk_kick,
	.drain    = blk_drain,
	.post_load = blk_post_load,
};

static int blk_workers(struct blk *b, struct fail *why)
{
	while (b->nworkers < BLK_THREADS) {
		struct blk_worker *w = &b->workers[b->nworkers];

		w->b   = b;
		w->buf = aligned_alloc(4096, BLK_REQUEST_MAX);
		errno  = w->buf ? pthread_create(&w->thread, NULL, blk_thread, w) : ENOMEM;
		if (errno) {
			free(w->buf);
			return fail_sys(why, "%s: thread", b->v.d.node);
		}
		b->nworkers++;
	}
	return 0;
}

static int blk_open(struct device *d, struct fail *why)
{
	struct blk                *b    = (struct blk *)d;
	const struct machine_host *host = device_resource(d);
	pthread_condattr_t         monotonic;

	b->disk.fd = b->disk.claim = -1;
	b->last    = &b->first;
	virtio_open(&b->v, &blk_class);
	pthread_cond_init(&b->work, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&b->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (!host || host->cls != HOST_DISK)
		return fail_set(why, FAIL_USAGE, "%s: missing disk %s", d->node, d->cfg.host);
	if (disk_open(&b->disk, host, why) ||
	    (!d->host->disks_deferred && disk_lock(&b->disk, why)))
		return -1;
	if (disk_sync_open(&b->sync, &b->disk, why))
		return -1;
	b->disk.wrote     = disk_sync_wrote;
	b->disk.wrote_arg = &b->sync;
	b->s.capacity = b->disk.size / BLK_SECTOR;
	b->s.readonly = b->disk.readonly;
	return blk_workers(b, why);
}

static void blk_reset(struct device *d)
{
	struct blk *b = (struct blk *)d;

	blk_drain(&b->v);
	virtio_reset(d);
	b->s = (struct virtio_blk_state){ .capacity = b->disk.size / BLK_SECTOR,
					  .readonly = b->disk.readonly };
}

/* Flushes nothing: only saves and moves need that, and they request it (disk_sync.h). */
static int blk_pause(struct device *d, struct fail *why)
{
	struct blk *b = (struct blk *)d;

	b->v.paused = true;
	blk_put_back(b);
	if (blk_drain_until(b, io_now_ns() + BLK_DRAIN_NS)) {
		blk_kept_park(b);
		return 0;
	}
	return fail_set(why, FAIL_SYSTEM, "disk %s: requests in flight after %u s",
			b->disk.name, (unsigned)(BLK_DRAIN_NS / 1000000000u));
}

static int blk_resume(struct device *d, struct fail *why)
{
	blk_kept_unpark((struct blk *)d);
	virtio_blk_hold(d, false);
	return virtio_resume(d, why);
}

void virtio_blk_hold(struct device *d, bool hold)
{
	struct blk *b = (struct blk *)d;

	b->held = hold;
	if (!hold)
		pthread_cond_broadcast(&b->work);
}

bool virtio_blk_in_flight(struct device *d)
{
	return ((struct blk *)d)->busy != 0;
}

struct disk_sync *virtio_blk_sync(struct device *d)
{
	return &((struct blk *)d)->sync;
}

uint64_t virtio_blk_bytes(const struct device *d)
{
	return ((const struct blk *)d)->s.capacity * BLK_SECTOR;
}

static int blk_own(struct device *d, bool own, struct fail *why)
{
	struct blk *b = (struct blk *)d;

	return own ? disk_lock(&b->disk, why) : disk_hand_over(&b->disk, why);
}

static void blk_counters(struct device *d, struct json_t *into)
{
	const struct blk *b = (const struct blk *)d;

	virtio_counters(d, into);
	json_object_set_new(into, "requests", json_integer((json_int_t)b->requests));
	json_object_set_new(into, "in-flight", json_integer((json_int_t)b->busy + b->waiting));
	json_object_set_new(into, "errors", json_integer((json_int_t)b->errors));
	json_object_set_new(into, "bytes-read", json_integer((json_int_t)b->bytes_read));
	json_object_set_new(into, "bytes-written", json_integer((json_int_t)b->bytes_written));
	json_object_set_new(into, "flushes", json_integer((json_int_t)b->sync.flushes));
	json_object_set_new(into, "samples-read", json_integer((json_int_t)b->sync.reads));
	json_object_set_new(into, "locked", json_boolean(b->disk.hold == DISK_OWNED));
}

static void blk_close(struct device *d)
{
	struct blk *b = (struct blk *)d;

	if (b->v.cls == NULL)
		return;
	device_lock(d);
	b->v.paused = true;
	blk_drain(&b->v);
	b->stop = true;
	pthread_cond_broadcast(&b->work);
	device_unlock(d);
	for (unsigned i = 0; i < b->nworkers; i++) {
		pthread_join(b->workers[i].thread, NULL);
		free(b->workers[i].buf);
	}
	pthread_cond_destroy(&b->work);
	pthread_cond_destroy(&b->idle);
	disk_sync_close(&b->sync);
	disk_close(&b->disk);
	virtio_close(&b->v);
}

const struct device_ops virtio_blk_ops = {
	.type       = "virtio-blk",
	.compatible = "virtio,mmio",
	.virtio     = true,
	.size       = sizeof(struct blk),
	.disk       = &virtio_blk_disk_ops,
	.open       = blk_open,
	.reset      = blk_reset,
	.read       = virtio_mmio_read,
	.write      = virtio_mmio_write,
	.sections   = virtio_sections,
	.post_load  = virtio_post_load,
	.pause      = blk_pause,
	.resume     = blk_resume,
	.own        = blk_own,
	.counters   = blk_counters,
	.close      = blk_close,
};
