/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/virtqueue.h"

#include "libcommon/bytes.h"

#include <stdatomic.h>

#define DESC_BYTES 16u
#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u

const char virtq_endless[] = "request loop exceeds the queue size";

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* Ring indices and flags are shared with running vCPUs: one aligned load or store each. The areas'
 * alignment was checked when the queue was made ready. */
static bool virtq_load16(struct virtqueue *q, uint64_t gpa, uint16_t *v, memory_order order)
{
	const _Atomic uint16_t *p = guest_read(q->mem, gpa, 2);

	if (p)
		*v = atomic_load_explicit((_Atomic uint16_t *)(uintptr_t)p, order);
	return p != NULL;
}

static void virtq_store16(struct virtqueue *q, uint64_t gpa, uint16_t v)
{
	struct guest_write w;
	_Atomic uint16_t  *p = guest_write_begin(q->mem, &w, gpa, 2);

	if (!p)
		return;
	atomic_store_explicit(p, v, memory_order_release);
	guest_write_end(&w);
}

bool virtq_valid(const struct virtqueue *q, const char **mistake)
{
	const struct virtqueue_state *s = &q->s;

	*mistake = "invalid queue size";
	if (s->size == 0 || s->size > VIRTQUEUE_MAX || s->size & (s->size - 1))
		return false;
	*mistake = "misaligned queue address";
	if (s->desc % 16 || s->avail % 2 || s->used % 4)
		return false;
	*mistake = "queue address out of range";
	struct region *used = memory_region(q->mem, s->used, 6 + 8 * (uint64_t)s->size);

	return memory_region(q->mem, s->desc, DESC_BYTES * (uint64_t)s->size) &&
	       memory_region(q->mem, s->avail, 6 + 2 * (uint64_t)s->size) && used &&
	       used->cfg.kind != REGION_ROM;
}

static int virtq_desc(struct virtqueue *q, uint64_t table, uint16_t i, struct desc *d)
{
	uint8_t raw[DESC_BYTES];

	if (guest_copy_out(q->mem, raw, table + DESC_BYTES * (uint64_t)i, sizeof(raw)))
		return -1;
	*d = (struct desc){ .addr = get_le64(raw), .len = get_le32(raw + 8),
			    .flags = get_le16(raw + 12), .next = get_le16(raw + 14) };
	return 0;
}

/* Checks a buffer and adds it to the chain. */
static bool virtq_add(struct virtqueue *q, struct virtq_chain *c, const struct desc *d,
		      const char **mistake)
{
	unsigned       n = c->nread + c->nwrite;
	struct region *r = memory_region(q->mem, d->addr, d->len);

	*mistake = "descriptor chain longer than the queue";
	if (n >= q->s.size)
		return false;
	*mistake = "buffer address out of range";
	if (!r || (d->flags & DESC_WRITE && r->cfg.kind == REGION_ROM))
		return false;
	*mistake = "readable descriptor after a writable one";
	if (!(d->flags & DESC_WRITE) && c->nwrite)
		return false;
	c->seg[n] = (struct virtq_seg){ .gpa = d->addr, .len = d->len };
	if (d->flags & DESC_WRITE) {
		c->nwrite++;
		c->write_len += d->len;
	} else {
		c->nread++;
		c->read_len += d->len;
	}
	return true;
}

/* Walks one table. The number of steps is bounded by the table's size, so that a loop in the chain
 * ends as an error of the driver. */
static bool virtq_walk(struct virtqueue *q, struct virtq_chain *c, uint64_t table, uint32_t entries,
		       uint16_t at, bool nested, struct desc *indirect, const char **mistake)
{
	for (uint32_t steps = 0; ; steps++) {
		struct desc d;

		*mistake = "descriptor loop";
		if (steps >= entries)
			return false;
		*mistake = "descriptor index out of range";
		if (at >= entries || virtq_desc(q, table, at, &d))
			return false;
		if (d.flags & DESC_INDIRECT) {
			*mistake = "unexpected indirect descriptor";
			if (nested || !q->indirect || d.flags & (DESC_NEXT | DESC_WRITE))
				return false;
			*indirect = d;
			return true;
		}
		if (!virtq_add(q, c, &d, mistake))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		at = d.next;
	}
}

static bool virtq_chain(struct virtqueue *q, struct virtq_chain *c, const char **mistake)
{
	struct desc indirect = { 0 }, none;

	if (!virtq_walk(q, c, q->s.desc, q->s.size, c->head, false, &indirect, mistake))
		return false;
	if (!indirect.flags)
		return true;
	/* The driver keeps even an indirect chain within the queue's size (2.7.5.3.1). */
	*mistake = "invalid indirect table length";
	if (indirect.len == 0 || indirect.len % DESC_BYTES || indirect.len / DESC_BYTES > q->s.size)
		return false;
	*mistake = "indirect table address out of range";
	if (!memory_region(q->mem, indirect.addr, indirect.len))
		return false;
	return virtq_walk(q, c, indirect.addr, indirect.len / DESC_BYTES, 0, true, &none, mistake);
}

int virtq_chain_at(struct virtqueue *q, uint16_t head, struct virtq_chain *c, const char **mistake)
{
	c->head  = head;
	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	if (virtq_chain(q, c, mistake))
		return memory_lost(q->mem) ? 0 : 1;
	return memory_lost(q->mem) ? 0 : -1;
}

int virtq_pop(struct virtqueue *q, struct virtq_chain *c, const char **mistake)
{
	uint16_t avail, head, mask = (uint16_t)(q->s.size - 1);
	int      rc;

	*mistake = "queue address out of range";
	/* Acquire: what the driver wrote before it moved the index is seen after it. */
	if (!q->s.ready || !virtq_load16(q, q->s.avail + 2, &avail, memory_order_acquire))
		return q->s.ready ? -1 : 0;
	if (avail == q->s.last_avail || memory_lost(q->mem))
		return 0;
	*mistake = "available index out of range";
	if ((uint16_t)(avail - q->s.last_avail) > q->s.size)
		return -1;
	*mistake = "number of requests exceeds the queue size";
	if ((uint16_t)(q->s.last_avail - q->s.used_idx) >= q->s.size)
		return -1;
	if (!virtq_load16(q, q->s.avail + 4 + 2 * (uint64_t)(q->s.last_avail & mask), &head,
			  memory_order_relaxed))
		return -1;
	rc = virtq_chain_at(q, head, c, mistake);
	if (rc == 1)
		q->s.last_avail++;
	return rc;
}

void virtq_repop(struct virtqueue *q, uint16_t n)
{
	q->s.last_avail = (uint16_t)(q->s.last_avail + n);
}

void virtq_unpop(struct virtqueue *q, uint16_t n)
{
	q->s.last_avail = (uint16_t)(q->s.last_avail - n);
}

void virtq_push(struct virtqueue *q, uint16_t head, uint32_t written)
{
	uint8_t  elem[8];
	uint16_t mask = (uint16_t)(q->s.size - 1);

	put_le32(elem, head);
	put_le32(elem + 4, written);
	guest_copy_in(q->mem, q->s.used + 4 + 8 * (uint64_t)(q->s.used_idx & mask), elem,
		      sizeof(elem));
	q->s.used_idx++;
	/* Release: after the element and the buffers. */
	virtq_store16(q, q->s.used + 2, q->s.used_idx);
}

bool virtq_wants_interrupt(struct virtqueue *q)
{
	uint16_t was = q->s.signalled_used, now = q->s.used_idx, event, flags;
	bool     valid = q->s.signalled_valid;

	/* The driver writes its flag or event index and then reads our index; we wrote our index
	 * and now read its flag. Without the full barrier both could miss the other's write. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !virtq_load16(q, q->s.avail, &flags, memory_order_relaxed) ||
		       !(flags & AVAIL_NO_INTERRUPT);
	q->s.signalled_used  = now;
	q->s.signalled_valid = true;
	if (!valid || !virtq_load16(q, q->s.avail + 4 + 2 * (uint64_t)q->s.size, &event,
				    memory_order_relaxed))
		return true;
	return (uint16_t)(now - event - 1) < (uint16_t)(now - was);
}

bool virtq_rearm(struct virtqueue *q)
{
	uint16_t avail;

	if (!q->s.ready)
		return false;
	if (q->event_idx)
		virtq_store16(q, q->s.used + 4 + 8 * (uint64_t)q->s.size, q->s.last_avail);
	/* As above: our event index first, then the driver's index. */
	atomic_thread_fence(memory_order_seq_cst);
	return virtq_load16(q, q->s.avail + 2, &avail, memory_order_acquire) &&
	       avail != q->s.last_avail && !memory_lost(q->mem);
}

int virtq_copy_out(struct memory *m, const struct virtq_seg *seg, unsigned nseg, uint64_t at,
		   void *dst, uint64_t len)
{
	uint8_t *to = dst;

	for (unsigned i = 0; i < nseg && len; i++) {
		uint64_t n;

		if (at >= seg[i].len) {
			at -= seg[i].len;
			continue;
		}
		n = seg[i].len - at < len ? seg[i].len - at : len;
		if (guest_copy_out(m, to, seg[i].gpa + at, n) || memory_lost(m))
			return -1;
		to  += n;
		len -= n;
		at   = 0;
	}
	return len ? -1 : 0;
}

int virtq_copy_in(struct memory *m, const struct virtq_seg *seg, unsigned nseg, uint64_t at,
		  const void *src, uint64_t len)
{
	const uint8_t *from = src;

	for (unsigned i = 0; i < nseg && len; i++) {
		uint64_t n;

		if (at >= seg[i].len) {
			at -= seg[i].len;
			continue;
		}
		n = seg[i].len - at < len ? seg[i].len - at : len;
		if (guest_copy_in(m, seg[i].gpa + at, from, n))
			return -1;
		from += n;
		len  -= n;
		at    = 0;
	}
	return len ? -1 : 0;
}
