/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include "format/state/state_virtio_rng.h"
#include "vmrun/devices/virtio.h"

#include <jansson.h>
#include <string.h>
#include <sys/random.h>

/* Entropy from the host's getrandom. */

#define RNG_REQUEST_MAX 4096u      /* a request is served to this length; the driver asks again */

struct rng {
	struct virtio           v;
	struct virtio_rng_state s;
};

static uint32_t rng_serve(struct rng *r, const struct virtq_chain *c)
{
	uint8_t  buf[RNG_REQUEST_MAX];
	uint64_t want = c->write_len < sizeof(buf) ? c->write_len : sizeof(buf);
	ssize_t  got  = want ? getrandom(buf, (size_t)want, 0) : 0;

	if (got > 0 && virtq_copy_in(r->v.q[0].mem, c->seg + c->nread, c->nwrite, 0, buf,
				     (uint64_t)got))
		got = 0;
	explicit_bzero(buf, sizeof(buf));
	return got > 0 ? (uint32_t)got : 0;
}

static void rng_kick(struct virtio *v, unsigned queue)
{
	struct rng        *r = (struct rng *)v;
	struct virtqueue  *q = &v->q[queue];
	struct virtq_chain c;
	const char        *mistake;
	unsigned           n = 0;
	int                rc;

	do {
		while ((rc = virtq_pop(q, &c, &mistake)) == 1) {
			uint32_t got = rng_serve(r, &c);

			r->s.bytes_served += got;
			virtq_push(q, c.head, got);
			if (++n == VIRTQ_CHAINS_MAX)
				break;
		}
	} while (rc == 0 && virtq_rearm(q));
	if (n)
		virtio_used(v, queue);
	if (rc < 0)
		virtio_broken(v, mistake);
	else if (n == VIRTQ_CHAINS_MAX)
		virtio_broken(v, virtq_endless);
}

static const struct virtio_class rng_class = {
	.id       = 4,
	.nqueues  = 1,
	.table    = &virtio_rng_state_table,
	.state_at = offsetof(struct rng, s),
	.kick     = rng_kick,
};

static int rng_open(struct device *d, struct fail *why)
{
	(void)why;
	virtio_open((struct virtio *)d, &rng_class);
	return 0;
}

static void rng_reset(struct device *d)
{
	virtio_reset(d);
	((struct rng *)d)->s = (struct virtio_rng_state){ 0 };
}

static void rng_counters(struct device *d, struct json_t *into)
{
	virtio_counters(d, into);
	json_object_set_new(into, "bytes-served",
			    json_integer((json_int_t)((struct rng *)d)->s.bytes_served));
}

static void rng_close(struct device *d)
{
	virtio_close((struct virtio *)d);
}

const struct device_ops virtio_rng_ops = {
	.type       = "virtio-rng",
	.compatible = "virtio,mmio",
	.virtio     = true,
	.size       = sizeof(struct rng),
	.open       = rng_open,
	.reset      = rng_reset,
	.read       = virtio_mmio_read,
	.write      = virtio_mmio_write,
	.sections   = virtio_sections,
	.post_load  = virtio_post_load,
	.pause      = virtio_pause,
	.resume     = virtio_resume,
	.counters   = rng_counters,
	.close      = rng_close,
};
