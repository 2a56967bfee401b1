/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtio.h"

#include "libcommon/bytes.h"

/* VIRTIO 1.2, 4.2.2: the register window, version 2. */
#define MMIO_MAGIC               0x000u
#define MMIO_VERSION             0x004u
#define MMIO_DEVICE_ID           0x008u
#define MMIO_VENDOR_ID           0x00cu
#define MMIO_DEVICE_FEATURES     0x010u
#define MMIO_DEVICE_FEATURES_SEL 0x014u
#define MMIO_DRIVER_FEATURES     0x020u
#define MMIO_DRIVER_FEATURES_SEL 0x024u
#define MMIO_QUEUE_SEL           0x030u
#define MMIO_QUEUE_NUM_MAX       0x034u
#define MMIO_QUEUE_NUM           0x038u
#define MMIO_QUEUE_READY         0x044u
#define MMIO_INTERRUPT_STATUS    0x060u
#define MMIO_INTERRUPT_ACK       0x064u
#define MMIO_STATUS              0x070u
#define MMIO_QUEUE_DESC          0x080u
#define MMIO_QUEUE_DRIVER        0x090u
#define MMIO_QUEUE_DEVICE        0x0a0u
#define MMIO_SHM_SEL             0x0acu
/* To SHM_BASE_HIGH at 0x0bc: all ones, there is none. */
#define MMIO_SHM_LEN             0x0b0u
#define MMIO_SHM_END             0x0c0u
#define MMIO_CONFIG_GENERATION   0x0fcu
#define MMIO_CONFIG              0x100u

#define MAGIC_VALUE  0x74726976u     /* "virt" */
#define VENDOR_VALUE 0x524d5646u     /* "FVMR" */

static struct virtqueue *mmio_queue(struct virtio *v)
{
	return v->core.queue_sel < v->cls->nqueues ? &v->q[v->core.queue_sel] : NULL;
}

static uint64_t mmio_config_read(const struct virtio *v, uint64_t at, unsigned size)
{
	uint8_t  config[VIRTIO_CONFIG_MAX] = { 0 };
	size_t   len = v->cls->config ? v->cls->config(v, config) : 0;
	uint64_t value = 0;

	if (at > len || size > len - at)
		return 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)config[at + i] << (8 * i);
	return value;
}

uint64_t virtio_mmio_read(struct device *d, uint64_t at, unsigned size)
{
	struct virtio    *v = (struct virtio *)d;
	struct virtqueue *q = mmio_queue(v);

	if (at >= MMIO_CONFIG)
		return mmio_config_read(v, at - MMIO_CONFIG, size);
	if (size != 4 || at % 4)
		return 0;
	switch (at) {
	case MMIO_MAGIC:
		return MAGIC_VALUE;
	case MMIO_VERSION:
		return 2;
	case MMIO_DEVICE_ID:
		return v->cls->id;
	case MMIO_VENDOR_ID:
		return VENDOR_VALUE;
	case MMIO_DEVICE_FEATURES:
		return v->mmio.device_features_sel < 2
		       ? (uint32_t)(v->core.device_features >> (32 * v->mmio.device_features_sel))
		       : 0;
	case MMIO_QUEUE_NUM_MAX:
		return q ? VIRTQUEUE_MAX : 0;
	case MMIO_QUEUE_READY:
		return q && q->s.ready;
	case MMIO_INTERRUPT_STATUS:
		return v->core.isr;
	case MMIO_STATUS:
		return v->core.status;
	case MMIO_CONFIG_GENERATION:
		return v->core.config_generation;
	default:
		return at >= MMIO_SHM_LEN && at < MMIO_SHM_END ? UINT32_MAX : 0;
	}
}

static void mmio_half(uint64_t *word, bool high, uint32_t value)
{
	if (high)
		*word = (*word & UINT32_MAX) | (uint64_t)value << 32;
	else
		*word = (*word & ~(uint64_t)UINT32_MAX) | value;
}

/* Registers of the selected queue; only readiness can be written while it is ready. */
static void mmio_queue_write(struct virtio *v, uint64_t at, uint32_t value)
{
	struct virtqueue *q = mmio_queue(v);

	if (!q)
		return;
	if (at == MMIO_QUEUE_READY) {
		virtio_set_ready(v, v->core.queue_sel, value & 1);
		return;
	}
	if (q->s.ready)
		return;
	switch (at) {
	case MMIO_QUEUE_NUM:
		/* Invalid sizes are ignored here, so that the saved size is always valid. */
		if (value <= VIRTQUEUE_MAX && !(value & (value - 1)))
			q->s.size = (uint16_t)value;
		else
			virtio_broken(v, "invalid queue size");
		break;
	case MMIO_QUEUE_DESC:
	case MMIO_QUEUE_DESC + 4:
		mmio_half(&q->s.desc, at & 4, value);
		break;
	case MMIO_QUEUE_DRIVER:
	case MMIO_QUEUE_DRIVER + 4:
		mmio_half(&q->s.avail, at & 4, value);
		break;
	case MMIO_QUEUE_DEVICE:
	case MMIO_QUEUE_DEVICE + 4:
		mmio_half(&q->s.used, at & 4, value);
		break;
	default:
		break;
	}
}

void virtio_mmio_write(struct device *d, uint64_t at, unsigned size, uint64_t value64)
{
	struct virtio *v     = (struct virtio *)d;
	uint32_t       value = (uint32_t)value64;

	/* No device here has configuration to write. */
	if (size != 4 || at % 4 || at >= MMIO_CONFIG)
		return;
	while (v->draining)      /* another vCPU resets it */
		pthread_cond_wait(&v->drained, d->host->lock);
	switch (at) {
	case MMIO_DEVICE_FEATURES_SEL:
		v->mmio.device_features_sel = value;
		break;
	case MMIO_DRIVER_FEATURES_SEL:
		v->mmio.driver_features_sel = value;
		break;
	case MMIO_DRIVER_FEATURES:
		if (v->mmio.driver_features_sel < 2 &&
		    !(v->core.status & VIRTIO_STATUS_FEATURES_OK))
			mmio_half(&v->core.driver_features, v->mmio.driver_features_sel, value);
		break;
	case MMIO_QUEUE_SEL:
		v->core.queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_kick(v, value);
		break;
	case MMIO_INTERRUPT_ACK:
		virtio_ack(v, value);
		break;
	case MMIO_STATUS:
		virtio_set_status(v, (uint8_t)value);
		break;
	case MMIO_SHM_SEL:
		v->mmio.shm_sel = value;
		break;
	default:
		mmio_queue_write(v, at, value);
		break;
	}
}
