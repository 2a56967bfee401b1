/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_H
#define VMRUN_DEVICES_VIRTIO_H

#include "format/state/state_virtio.h"
#include "vmrun/devices/device.h"
#include "vmrun/devices/virtqueue.h"

#include <pthread.h>

/* Virtio in three layers: the transport (virtio_mmio.c) knows registers, the core (virtio.c) knows
 * the life of a device and its queues, a device knows its requests. A device's struct begins with
 * struct virtio; its device_ops take virtio_mmio_read/_write and
 * virtio_reset/_sections/_post_load/_pause/_resume/_counters as they are. */

#define VIRTIO_QUEUES_MAX 2u
#define VIRTIO_CONFIG_MAX 64u
/* The register a driver writes a queue's number to: VIRTIO 1.2, 4.2.2. */
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050u

struct virtio;

struct virtio_class {
	uint32_t                  id;           /* VIRTIO 1.2, 5 */
	unsigned                  nqueues;
	const struct state_table *table;        /* of the device's own section ... */
	size_t                    state_at;     /* ... and its offset in the private struct */

	/* Feature bits beyond those of the queues. */
	uint64_t (*features)(const struct virtio *v);
	/* NULL: no configuration space. */
	size_t   (*config)(const struct virtio *v, uint8_t out[VIRTIO_CONFIG_MAX]);
	/* Pops, serves, pushes; called only while virtio_live. */
	void     (*kick)(struct virtio *v, unsigned queue);
	/* Nothing is in flight when it returns; drops the machine lock while it waits. NULL:
	 * requests complete in the kick. */
	void     (*drain)(struct virtio *v);
	/* NULL: nothing of its own to check. */
	int      (*post_load)(struct virtio *v, struct fail *why);
};

struct virtio {
	struct device              d;
	const struct virtio_class *cls;
	struct virtio_state        core;
	struct virtio_mmio_state   mmio;
	struct virtqueue           q[VIRTIO_QUEUES_MAX];
	bool                       paused;
	/* A vCPU waits in drain() without the lock: other vCPUs may not kick or write. */
	bool                       draining;
	pthread_cond_t             drained;
	const char                *mistake;       /* the guest's last, for the counters */
	uint64_t                   kicks, interrupts, mistakes;
};

/* virtio_open comes first in the device's open, virtio_close last in its close. */
void virtio_open(struct virtio *v, const struct virtio_class *cls);
void virtio_close(struct virtio *v);

/* device_ops */
void virtio_reset(struct device *d);
uint64_t virtio_mmio_read(struct device *d, uint64_t at, unsigned size);
void virtio_mmio_write(struct device *d, uint64_t at, unsigned size, uint64_t value);
size_t virtio_sections(struct device *d, struct state_section *out, size_t max);
int virtio_post_load(struct device *d, struct fail *why);
int virtio_pause(struct device *d, struct fail *why);
int virtio_resume(struct device *d, struct fail *why);
void virtio_counters(struct device *d, struct json_t *into);

/* For devices; all with the machine lock. */
/* The driver runs, and we may touch its rings. */
bool virtio_live(const struct virtio *v);
/* After pushes: interrupts if the driver asked for it. */
void virtio_used(struct virtio *v, unsigned queue);
/* The driver broke a rule: sets DEVICE_NEEDS_RESET (VIRTIO 1.2, 2.1.2). */
void virtio_broken(struct virtio *v, const char *mistake);

/* For the transport. */
void virtio_kick(struct virtio *v, unsigned queue);
void virtio_set_status(struct virtio *v, uint8_t status);
void virtio_set_ready(struct virtio *v, unsigned queue, bool ready);
void virtio_ack(struct virtio *v, uint32_t bits);

#endif
