#include "vmrun/devices/virtio_blk.h"

#include "format/disk_digest.h"
#include "format/state_virtio_blk.h"
#include "libcommon/bytes.h"
#include "vmrun/devices/virtio.h"
#include "vmrun/devices/virtio_blk_request.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BLK_THREADS 2u

#define F_SIZE_MAX     ((uint64_t)1 << 1)
#define F_SEG_MAX      ((uint64_t)1 << 2)
#define F_RO           ((uint64_t)1 << 5)
#define F_BLK_SIZE     ((uint64_t)1 << 6)
#define F_FLUSH        ((uint64_t)1 << 9)
#define F_DISCARD      ((uint64_t)1 << 13)
#define F_WRITE_ZEROES ((uint64_t)1 << 14)

struct blk {
	struct virtio           v;
	struct virtio_blk_state s;
	struct disk             disk;

	/* All with machine_lock. */
	struct blk_request     *first, **last;      /* popped and not begun, in order */
	uint16_t                waiting;            /* how many */
	unsigned                busy;               /* requests that have begun */
	bool                    stop;
	pthread_cond_t          work, idle;
	struct blk_worker {
		struct blk *b;
		uint8_t    *buf;                    /* BLK_REQUEST_MAX, touched as far as requests reach */
		pthread_t   thread;
	} workers[BLK_THREADS];
	unsigned                nworkers;

	uint64_t                requests, errors, bytes_read, bytes_written;
};

/* --- the threads --- */

static struct blk_request *blk_next(struct blk *b)
{
	struct blk_request *r = b->first;

	b->first = r->next;
	if (!b->first)
		b->last = &b->first;
	b->waiting--;
	b->busy++;
	if (r->type != BLK_IN && r->type != BLK_GET_ID && r->type != BLK_FLUSH)
		b->disk.unsynced = true;
	return r;
}

static void blk_done(struct blk *b, const struct blk_request *r, enum blk_status status, uint32_t written)
{
	b->requests++;
	b->errors += status != BLK_OK;
	if (status == BLK_OK && r->type == BLK_IN)
		b->bytes_read += r->write_len;
	if (status == BLK_OK && r->type == BLK_OUT)
		b->bytes_written += r->read_len;
	virtq_push(&b->v.q[0], r->head, written);
	virtio_used(&b->v, 0);
	b->busy--;
	if (!b->busy)
		pthread_cond_broadcast(&b->idle);
}

static void *blk_thread(void *arg)
{
	struct blk_worker *w  = arg;
	struct blk        *b  = w->b;
	struct vm         *vm = b->v.d.vm;

	pthread_mutex_lock(&vm->machine_lock);
	while (!b->stop) {
		struct blk_request *r;
		enum blk_status     status;
		uint32_t            written;

		if (!b->first) {
			pthread_cond_wait(&b->work, &vm->machine_lock);
			continue;
		}
		r = blk_next(b);
		pthread_mutex_unlock(&vm->machine_lock);
		status = blk_request_run(r, &b->disk, b->s.capacity, &vm->memory, w->buf, &written);
		pthread_mutex_lock(&vm->machine_lock);
		blk_done(b, r, status, written);
		free(r);
	}
	pthread_mutex_unlock(&vm->machine_lock);
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

	/* Bounded: nothing completes while we hold the lock, and a queue takes no more than it holds. */
	do {
		while ((rc = virtq_pop(q, &c, &mistake)) == 1) {
			struct blk_request *r = blk_request_make(&v->d.vm->memory, &c, &mistake);

			if (!r) {
				virtq_unpop(q, 1);
				rc = -1;
				if (!mistake)
					mistake = "the host has no memory for a request";
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

/* Requests not begun go back into the ring: they are the last popped, so that the ring's order says which they are, and
 * the next kick takes them again. A pause is no longer than what the host's disk is doing just now. */
static void blk_drain(struct virtio *v)
{
	struct blk         *b = (struct blk *)v;
	struct blk_request *r;

	virtq_unpop(&v->q[0], b->waiting);
	while ((r = b->first)) {
		b->first = r->next;
		free(r);
	}
	b->last    = &b->first;
	b->waiting = 0;
	while (b->busy)
		pthread_cond_wait(&b->idle, &v->d.vm->machine_lock);
}

static uint64_t blk_features(const struct virtio *v)
{
	const struct blk *b = (const struct blk *)v;

	return F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (b->disk.readonly ? F_RO : F_DISCARD | F_WRITE_ZEROES);
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

static int blk_loaded(struct virtio *v, struct fail *why)
{
	struct blk *b = (struct blk *)v;

	/* A disk that has grown is told to the guest at its next reset. */
	if (b->s.capacity > b->disk.size / BLK_SECTOR)
		return fail_set(why, FAIL_REFUSED, "disk %s: has %" PRIu64 " bytes, the guest knows %" PRIu64, b->disk.name, b->disk.size,
				b->s.capacity * BLK_SECTOR);
	if (b->s.readonly != b->disk.readonly)
		return fail_set(why, FAIL_REFUSED, "disk %s: is %s here, the guest knows it as %s", b->disk.name,
				b->disk.readonly ? "read-only" : "writable", b->s.readonly ? "read-only" : "writable");
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
	.loaded   = blk_loaded,
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
	const struct machine_host *host = machine_host_find(&d->vm->cfg, d->cfg.host);

	b->disk.fd = b->disk.claim = -1;
	b->last    = &b->first;
	virtio_open(&b->v, &blk_class);
	pthread_cond_init(&b->work, NULL);
	pthread_cond_init(&b->idle, NULL);
	if (!host || host->cls != HOST_DISK)
		return fail_set(why, FAIL_USAGE, "%s: there is no disk %s", d->node, d->cfg.host);
	if (disk_open(&b->disk, host, why) || (!d->vm->disks_deferred && disk_lock(&b->disk, why)))
		return -1;
	b->s.capacity = b->disk.size / BLK_SECTOR;
	b->s.readonly = b->disk.readonly;
	return blk_workers(b, why);
}

static void blk_reset(struct device *d)
{
	struct blk *b = (struct blk *)d;

	blk_drain(&b->v);
	virtio_reset(d);
	b->s = (struct virtio_blk_state){ .capacity = b->disk.size / BLK_SECTOR, .readonly = b->disk.readonly };
}

static int blk_pause(struct device *d, struct fail *why)
{
	struct blk *b = (struct blk *)d;
	int         error;

	virtio_pause(d, why);
	if (!b->disk.unsynced)
		return 0;
	/* The lock is let go: a flush may take long, and nothing of this device moves meanwhile. */
	pthread_mutex_unlock(&d->vm->machine_lock);
	error = disk_flush(&b->disk);
	pthread_mutex_lock(&d->vm->machine_lock);
	if (error) {
		errno = error;
		return fail_sys(why, "disk %s: flush", b->disk.name);
	}
	b->disk.unsynced = false;
	return 0;
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
	json_object_set_new(into, "locked", json_boolean(b->disk.hold == DISK_OWNED));
}

static void blk_close(struct device *d)
{
	struct blk *b = (struct blk *)d;

	if (b->v.cls == NULL)
		return;
	pthread_mutex_lock(&d->vm->machine_lock);
	b->v.paused = true;
	blk_drain(&b->v);
	b->stop = true;
	pthread_cond_broadcast(&b->work);
	pthread_mutex_unlock(&d->vm->machine_lock);
	for (unsigned i = 0; i < b->nworkers; i++) {
		pthread_join(b->workers[i].thread, NULL);
		free(b->workers[i].buf);
	}
	pthread_cond_destroy(&b->work);
	pthread_cond_destroy(&b->idle);
	disk_close(&b->disk);
	virtio_close(&b->v);
}

const struct device_ops virtio_blk_ops = {
	.type       = "virtio-blk",
	.compatible = "virtio,mmio",
	.virtio     = true,
	.size       = sizeof(struct blk),
	.open       = blk_open,
	.reset      = blk_reset,
	.read       = virtio_mmio_read,
	.write      = virtio_mmio_write,
	.parts      = virtio_parts,
	.loaded     = virtio_loaded,
	.pause      = blk_pause,
	.resume     = virtio_resume,
	.own        = blk_own,
	.counters   = blk_counters,
	.close      = blk_close,
};

/* --- all disks of a VM --- */

int blk_sizes(struct vm *vm, struct fail *why)
{
	for (unsigned i = 0; i < vm->board->ndevices; i++) {
		struct blk *b = (struct blk *)vm->board->devices[i];
		uint64_t    size, mtime_ns;

		if (b->v.d.ops != &virtio_blk_ops)
			continue;
		if (disk_size(b->disk.fd, &size, &mtime_ns, why))
			return fail_prefix(why, "disk %s: ", b->disk.name);
		if (b->s.capacity > size / BLK_SECTOR)
			return fail_set(why, FAIL_SYSTEM, "disk %s: the host has cut it to %" PRIu64 " bytes, the guest knows %" PRIu64,
					b->disk.name, size, b->s.capacity * BLK_SECTOR);
	}
	return 0;
}

int blk_fingerprint(struct vm *vm, struct fail *why)
{
	for (unsigned i = 0; i < vm->board->ndevices; i++) {
		struct device       *d = vm->board->devices[i];
		struct machine_host *host;

		if (d->ops != &virtio_blk_ops)
			continue;
		host = machine_host_find(&vm->cfg, d->cfg.host);
		if (host && disk_fingerprint(((struct blk *)d)->disk.fd, &host->size, &host->mtime_ns, host->digest, why))
			return fail_prefix(why, "disk %s: ", d->cfg.host);
	}
	return 0;
}
