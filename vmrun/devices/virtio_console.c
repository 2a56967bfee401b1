/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include "format/state/state_virtio_console.h"
#include "libcommon/text.h"
#include "vmrun/host/chardev.h"
#include "vmrun/devices/virtio.h"

#include <jansson.h>

/* A console of one port (Linux: hvc0) on a serial resource of its own. */

enum { QUEUE_RX, QUEUE_TX };

/* Bytes of one chain: what the host's backlog holds at most. */
#define CONSOLE_REQUEST_MAX ((uint64_t)1 << 20)
#define CONSOLE_PIECE       4096u

struct console {
	struct virtio               v;
	struct virtio_console_state s;
	struct chardev             *chardev;
};

/* One chain of the guest's text to the host. */
static bool console_send(struct console *c, const struct virtq_chain *chain)
{
	uint8_t  buf[CONSOLE_PIECE];
	uint64_t at = 0;

	while (at < chain->read_len) {
		uint64_t n = chain->read_len - at < sizeof(buf)
			     ? chain->read_len - at : sizeof(buf);

		if (virtq_copy_out(c->v.q[QUEUE_TX].mem, chain->seg, chain->nread, at, buf, n))
			return false;
		chardev_write(c->chardev, buf, (size_t)n);
		at += n;
	}
	c->s.bytes_out += at;
	return true;
}

static void console_tx(struct console *c)
{
	struct virtqueue  *q = &c->v.q[QUEUE_TX];
	struct virtq_chain chain;
	const char        *mistake;
	unsigned           n    = 0;
	int                rc   = 0;
	bool               capacity = true;

	do {
		/* While the host takes no more, text waits in the ring; console_writable
		 * continues. */
		while ((capacity = chardev_capacity(c->chardev)) &&
		       (rc = virtq_pop(q, &chain, &mistake)) == 1) {
			mistake = "console buffer exceeds the limit of 1 MiB";
			if (chain.read_len > CONSOLE_REQUEST_MAX || !console_send(c, &chain)) {
				virtq_unpop(q, 1);
				rc = -1;
				break;
			}
			virtq_push(q, chain.head, 0);
			if (++n == VIRTQ_CHAINS_MAX)
				break;
		}
	} while (capacity && rc == 0 && virtq_rearm(q));
	if (n)
		virtio_used(&c->v, QUEUE_TX);
	if (rc < 0)
		virtio_broken(&c->v, mistake);
	else if (n == VIRTQ_CHAINS_MAX)
		virtio_broken(&c->v, virtq_endless);
}

static void console_kick(struct virtio *v, unsigned queue)
{
	struct console *c = (struct console *)v;

	if (queue == QUEUE_TX)
		console_tx(c);
	else
		chardev_ready(c->chardev);     /* there are buffers to receive into */
}

/* --- the host's side: main thread, no lock --- */

static size_t console_fill(struct console *c, const uint8_t *data, size_t len)
{
	struct virtqueue  *q = &c->v.q[QUEUE_RX];
	struct virtq_chain chain;
	const char        *mistake;
	size_t             done = 0;
	unsigned           n    = 0;
	int                rc   = 0;

	while (done < len && n < VIRTQ_CHAINS_MAX && (rc = virtq_pop(q, &chain, &mistake)) == 1) {
		uint64_t take = len - done < chain.write_len ? len - done : chain.write_len;

		if (virtq_copy_in(q->mem, chain.seg + chain.nread, chain.nwrite, 0, data + done,
				  take))
			take = 0;
		virtq_push(q, chain.head, (uint32_t)take);
		done += (size_t)take;
		n++;
	}
	c->s.bytes_in += done;
	if (n)
		virtio_used(&c->v, QUEUE_RX);
	if (rc < 0)
		virtio_broken(&c->v, mistake);
	return done;
}

static size_t console_receive(void *arg, const uint8_t *data, size_t len)
{
	struct console *c = arg;
	size_t          n = 0;

	device_lock(&c->v.d);
	if (virtio_live(&c->v) && c->v.q[QUEUE_RX].s.ready)
		do {
			n += console_fill(c, data + n, len - n);
		} while (n < len && virtio_live(&c->v) && virtq_rearm(&c->v.q[QUEUE_RX]));
	device_unlock(&c->v.d);
	return n;
}

static void console_writable(void *arg)
{
	struct console *c = arg;

	device_lock(&c->v.d);
	virtio_kick(&c->v, QUEUE_TX);
	device_unlock(&c->v.d);
}

static void console_quit(void *arg)
{
	device_event(&((struct console *)arg)->v.d, VM_EVENT_QUIT);
}

static const struct virtio_class console_class = {
	.id       = 3,
	.nqueues  = 2,
	.table    = &virtio_console_state_table,
	.state_at = offsetof(struct console, s),
	.kick     = console_kick,
};

static int console_open(struct device *d, struct fail *why)
{
	struct console            *c    = (struct console *)d;
	const struct machine_host *host = device_resource(d);
	struct chardev_ops         ops  = { .receive = console_receive, .quit = console_quit,
					    .writable = console_writable, .arg = c };

	virtio_open(&c->v, &console_class);
	if (host && host->cls != HOST_SERIAL)
		return fail_set(why, FAIL_USAGE, "%s: %s is not a serial port", d->node,
				d->cfg.host);
	return chardev_open(&c->chardev, host ? host->path : "none", d->host->loop, &ops, why);
}

static void console_reset(struct device *d)
{
	virtio_reset(d);
	((struct console *)d)->s = (struct virtio_console_state){ 0 };
}

static int console_resume(struct device *d, struct fail *why)
{
	virtio_resume(d, why);
	chardev_ready(((struct console *)d)->chardev);
	return 0;
}

static void console_counters(struct device *d, struct json_t *into)
{
	struct console *c = (struct console *)d;
	uint64_t        written, lost;

	virtio_counters(d, into);
	chardev_counts(c->chardev, &written, &lost);
	json_object_set_new(into, "bytes-in", json_integer((json_int_t)c->s.bytes_in));
	json_object_set_new(into, "bytes-out", json_integer((json_int_t)c->s.bytes_out));
	json_object_set_new(into, "bytes-lost", json_integer((json_int_t)lost));
	json_object_set_new(into, "backend", text_json(chardev_where(c->chardev)));
}

static void console_close(struct device *d)
{
	chardev_close(((struct console *)d)->chardev);
	virtio_close((struct virtio *)d);
}

const struct device_ops virtio_console_ops = {
	.type       = "virtio-console",
	.compatible = "virtio,mmio",
	.virtio     = true,
	.size       = sizeof(struct console),
	.open       = console_open,
	.reset      = console_reset,
	.read       = virtio_mmio_read,
	.write      = virtio_mmio_write,
	.sections   = virtio_sections,
	.post_load  = virtio_post_load,
	.pause      = virtio_pause,
	.resume     = console_resume,
	.counters   = console_counters,
	.close      = console_close,
};
