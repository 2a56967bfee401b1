/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtio_blk_internal.h"

#include <assert.h>
#include <string.h>

/* No space on the host. As QEMU's werror=enospc: the request is kept, no other begins, and the VM
 * is paused until the user has freed up space and sends cont. Requests after it may have completed,
 * so it cannot go back into the ring by counting alone: its head is part of the state, and the
 * request is made again from its descriptors when the VM continues, here or on another host. */

static_assert(BLK_THREADS <= VIRTIO_BLK_KEPT_MAX, "each thread may have a request to keep");

void blk_kept_add(struct blk *b, const struct blk_request *r)
{
	b->s.kept_heads[b->s.kept++] = r->head;
}

void blk_kept_stall(struct blk *b, const struct blk_request *r)
{
	blk_kept_add(b, r);
	b->stalled = true;
	b->told    = false;
	device_event(&b->v.d, VM_EVENT_NO_SPACE);
}

void blk_kept_forget(struct blk *b)
{
	b->s.kept = 0;
	memset(b->s.kept_heads, 0, sizeof(b->s.kept_heads));
	b->stalled = b->parked = false;
}

/* Saved state has nothing in flight: kept requests count as not popped. */
void blk_kept_park(struct blk *b)
{
	if (!b->parked)
		virtq_unpop(&b->v.q[0], b->s.kept);
	b->parked = true;
}

/* At a resume: kept requests are done first. */
void blk_kept_unpark(struct blk *b)
{
	struct virtqueue  *q       = &b->v.q[0];
	const char        *mistake = NULL;
	struct virtq_chain c;

	if (b->parked)
		virtq_repop(q, b->s.kept);
	for (unsigned i = 0; i < b->s.kept; i++) {
		struct blk_request *r = NULL;

		if (virtq_chain_at(q, (uint16_t)b->s.kept_heads[i], &c, &mistake) == 1)
			r = blk_request_make(b->v.d.host->memory, &c, &mistake);
		if (!r) {
			virtio_broken(&b->v, mistake ? mistake : "host: out of memory");
			break;
		}
		r->again = true;
		*b->last = r;
		b->last  = &r->next;
	}
	blk_kept_forget(b);
	pthread_cond_broadcast(&b->work);
}

bool virtio_blk_stalled(struct device *d, bool *told)
{
	struct blk *b = (struct blk *)d;

	if (told) {
		*told   = b->told;
		b->told = true;
	}
	return b->stalled;
}
