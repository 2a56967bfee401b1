/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTQUEUE_H
#define VMRUN_DEVICES_VIRTQUEUE_H

#include "format/state/state_virtio.h"
#include "vmrun/memory.h"

/* Split rings (VIRTIO 1.2, 2.7). Everything in them is the guest's and may change at any time: each
 * entry is copied out before it is checked, a chain is at most as long as the queue, and every
 * buffer of it lies in RAM before a device sees it. All calls with the machine lock, where nothing
 * else is said. */

struct virtqueue {
	struct virtqueue_state s;
	struct memory         *mem;
	bool                   indirect, event_idx;      /* agreed features */
};

struct virtq_seg {
	uint64_t gpa;
	uint32_t len;      /* 1 or more */
};

/* Buffers the device reads come first, then those it writes. */
struct virtq_chain {
	uint16_t         head;
	unsigned         nread, nwrite;
	uint64_t         read_len, write_len;
	struct virtq_seg seg[VIRTQUEUE_MAX];
};

/* A driver that adds chains faster than a kick serves them would keep a vCPU and the machine lock
 * for ever. No sane driver reaches this many in a kick; one that does gets DEVICE_NEEDS_RESET. */
#define VIRTQ_CHAINS_MAX 65536u
extern const char virtq_endless[];

/* Size, alignment, and all three areas in RAM; else *mistake says what is wrong. */
bool virtq_valid(const struct virtqueue *q, const char **mistake);

/* The next chain: 1, none: 0, a guest's mistake: -1 with *mistake. None once guest memory is lost
 * (memory.h): what the rings say then may not be the guest's. */
int virtq_pop(struct virtqueue *q, struct virtq_chain *c, const char **mistake);
/* The last n chains popped and not pushed go back, to be popped again. */
void virtq_unpop(struct virtqueue *q, uint16_t n);
/* A chain that went back out of order: its head is known, its slot in the ring is another's. As
 * virtq_pop: 1, or -1. virtq_repop then counts n of them as popped. */
int virtq_chain_at(struct virtqueue *q, uint16_t head, struct virtq_chain *c, const char **mistake);
void virtq_repop(struct virtqueue *q, uint16_t n);
/* Returns a chain with the number of bytes written from the start of its writable part; marks the
 * ring's page as written. */
void virtq_push(struct virtqueue *q, uint16_t head, uint32_t written);
/* After one or more pushes: does the driver want an interrupt? Assumes that it gets it. */
bool virtq_wants_interrupt(struct virtqueue *q);
/* After popping until the ring was empty: asks the driver to kick for the next chain. True when
 * there is more already, because it may have been added before the driver saw the request. */
bool virtq_rearm(struct virtqueue *q);

/* Bytes of the chain's readable or writable part, from byte `at` of it; the range must lie within.
 * Any thread. -1: no memory there (a ROM, or the region is gone), or it is lost, and *dst may not
 * be the guest's. */
int virtq_copy_out(struct memory *m, const struct virtq_seg *seg, unsigned nseg, uint64_t at,
		   void *dst, uint64_t len);
int virtq_copy_in(struct memory *m, const struct virtq_seg *seg, unsigned nseg, uint64_t at,
		  const void *src, uint64_t len);

#endif
