/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtio.h"


#include <jansson.h>
#include <stdio.h>

#define RING_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

#define ISR_USED   1u
#define ISR_CONFIG 2u

static uint64_t virtio_offers(const struct virtio *v)
{
	return RING_FEATURES | (v->cls->features ? v->cls->features(v) : 0);
}

void virtio_open(struct virtio *v, const struct virtio_class *cls)
{
	v->cls    = cls;
	v->paused = true;      /* until the first resume */
	pthread_cond_init(&v->drained, NULL);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		v->q[i].mem = v->d.host->memory;
}

void virtio_close(struct virtio *v)
{
	if (v->cls)      /* was opened */
		pthread_cond_destroy(&v->drained);
}

static void virtio_line(struct virtio *v)
{
	irq_line_set(&v->d.irq, v->core.isr != 0);
}

static void virtio_raise(struct virtio *v, uint8_t why)
{
	v->core.isr |= why;
	v->interrupts++;
	virtio_line(v);
}

void virtio_ack(struct virtio *v, uint32_t bits)
{
	v->core.isr &= (uint8_t)~bits;
	virtio_line(v);
}

bool virtio_live(const struct virtio *v)
{
	return v->core.status & VIRTIO_STATUS_DRIVER_OK &&
	       !(v->core.status & (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED)) &&
	       !v->paused && !v->draining;
}

void virtio_used(struct virtio *v, unsigned queue)
{
	if (virtq_wants_interrupt(&v->q[queue]))
		virtio_raise(v, ISR_USED);
}

void virtio_broken(struct virtio *v, const char *mistake)
{
	v->mistake = mistake;
	v->mistakes++;
	if (v->core.status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	v->core.status |= VIRTIO_STATUS_NEEDS_RESET;
	/* VIRTIO 1.2, 2.1.2: sent as a configuration change. */
	if (v->core.status & VIRTIO_STATUS_DRIVER_OK)
		virtio_raise(v, ISR_CONFIG);
}

void virtio_kick(struct virtio *v, unsigned queue)
{
	if (queue >= v->cls->nqueues || !virtio_live(v) || !v->q[queue].s.ready)
		return;
	/* A kick that no vCPU stops for: nobody has asked before. */
	if (memory_lost_now(v->d.host->memory))
		return;
	v->kicks++;
	v->cls->kick(v, queue);
}

/* Power-on, but for the pause: what a reset by the guest or of the machine leaves. Nothing is in
 * flight. */
static void virtio_clear(struct virtio *v)
{
	v->core = (struct virtio_state){ .device_features = virtio_offers(v) };
	v->mmio = (struct virtio_mmio_state){ 0 };
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		v->q[i].s        = (struct virtqueue_state){ 0 };
		v->q[i].indirect = v->q[i].event_idx = false;
	}
	virtio_line(v);
}

void virtio_reset(struct device *d)
{
	virtio_clear((struct virtio *)d);
}

/* On a vCPU: no request may reach guest memory or the host's file once the register write has
 * returned. */
static void virtio_drain(struct virtio *v)
{
	if (!v->cls->drain)
		return;
	v->draining = true;
	v->cls->drain(v);
	v->draining = false;
	pthread_cond_broadcast(&v->drained);
}

static void virtio_agree(struct virtio *v)
{
	for (unsigned i = 0; i < v->cls->nqueues; i++) {
		v->q[i].indirect  = v->core.driver_features & VIRTIO_F_INDIRECT_DESC;
		v->q[i].event_idx = v->core.driver_features & VIRTIO_F_EVENT_IDX;
	}
}

void virtio_set_status(struct virtio *v, uint8_t status)
{
	uint8_t was = v->core.status, set;

	if (status == 0) {
		virtio_drain(v);
		virtio_clear(v);
		return;
	}
	/* Bits are only ever added (2.1.1), NEEDS_RESET is ours. */
	set = status & (uint8_t)~was & (uint8_t)~VIRTIO_STATUS_NEEDS_RESET & 0x8fu;
	if (set & VIRTIO_STATUS_FEATURES_OK) {
		if (v->core.driver_features & ~v->core.device_features ||
		    !(v->core.driver_features & VIRTIO_F_VERSION_1))
			set &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
		else
			virtio_agree(v);
	}
	if (set & VIRTIO_STATUS_DRIVER_OK && !((was | set) & VIRTIO_STATUS_FEATURES_OK))
		set &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	v->core.status = was | set;
	/* Serves what the driver made available before DRIVER_OK. */
	if (set & VIRTIO_STATUS_DRIVER_OK)
		for (unsigned i = 0; i < v->cls->nqueues; i++)
			virtio_kick(v, i);
}

void virtio_set_ready(struct virtio *v, unsigned queue, bool ready)
{
	struct virtqueue *q = &v->q[queue];
	const char       *mistake;

	if (ready == q->s.ready)
		return;
	if (!ready) {
		virtio_drain(v);
		q->s = (struct virtqueue_state){ 0 };
		return;
	}
	if (!(v->core.status & VIRTIO_STATUS_FEATURES_OK))
		return;
	if (!virtq_valid(q, &mistake)) {
		virtio_broken(v, mistake);
		return;
	}
	q->s.ready = true;
}

size_t virtio_sections(struct device *d, struct state_section *out, size_t max)
{
	struct virtio *v = (struct virtio *)d;
	size_t         n = 0;

	if (max < 3 + (size_t)v->cls->nqueues)
		return 0;
	out[n++] = (struct state_section){ .node = "virtio", .table = &virtio_state_table,
					   .s = &v->core };
	for (unsigned i = 0; i < v->cls->nqueues; i++) {
		out[n] = (struct state_section){ .table = &virtqueue_state_table, .s = &v->q[i].s };
		snprintf(out[n].node, sizeof(out[n].node), "virtqueue@%x", i);
		n++;
	}
	out[n++] = (struct state_section){ .node = "virtio-mmio", .table = &virtio_mmio_state_table,
					   .s = &v->mmio };
	out[n]   = (struct state_section){ .table = v->cls->table,
					   .s = (char *)v + v->cls->state_at };
	snprintf(out[n].node, sizeof(out[n].node), "%s", v->cls->table->name);
	return n + 1;
}

int virtio_post_load(struct device *d, struct fail *why)
{
	struct virtio *v = (struct virtio *)d;
	const char    *mistake;

	if (v->core.device_features & ~virtio_offers(v))
		return fail_set(why, FAIL_VERSION, "%s: unsupported features 0x%llx", d->node,
				(unsigned long long)(v->core.device_features & ~virtio_offers(v)));
	if (v->core.driver_features & ~v->core.device_features &&
	    v->core.status & VIRTIO_STATUS_FEATURES_OK)
		return fail_set(why, FAIL_CORRUPT,
				"%s: driver accepted features that were not offered", d->node);
	for (unsigned i = 0; i < v->cls->nqueues; i++)
		if (v->q[i].s.ready && !virtq_valid(&v->q[i], &mistake))
			return fail_set(why, FAIL_CORRUPT, "%s: queue %u: %s", d->node, i, mistake);
	if (v->cls->post_load && v->cls->post_load(v, why))
		return -1;
	virtio_agree(v);
	virtio_line(v);
	return 0;
}

int virtio_pause(struct device *d, struct fail *why)
{
	struct virtio *v = (struct virtio *)d;

	(void)why;
	v->paused = true;
	if (v->cls->drain)
		v->cls->drain(v);
	return 0;
}

int virtio_resume(struct device *d, struct fail *why)
{
	struct virtio *v = (struct virtio *)d;

	(void)why;
	v->paused = false;
	/* Requests that were put back by the pause, or were in the rings when the state was saved:
	 * no kick comes for them. */
	for (unsigned i = 0; i < v->cls->nqueues; i++)
		virtio_kick(v, i);
	return 0;
}

void virtio_counters(struct device *d, struct json_t *into)
{
	const struct virtio *v = (const struct virtio *)d;

	json_object_set_new(into, "kicks", json_integer((json_int_t)v->kicks));
	json_object_set_new(into, "interrupts", json_integer((json_int_t)v->interrupts));
	json_object_set_new(into, "guest-mistakes", json_integer((json_int_t)v->mistakes));
	if (v->mistake)
		json_object_set_new(into, "last-mistake", json_string(v->mistake));
}
