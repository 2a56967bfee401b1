/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "tests/unit/board_fake.h"

#include "libcommon/bytes.h"

/* A driver of one virtio-mmio device, as little as the tests need. Ring areas of queue q lie at
 * RAM + q * 64 KiB. */

#define Q_SIZE     16u
#define Q_DESC(q)  (RAM + 0x10000u * (q))
#define Q_AVAIL(q) (Q_DESC(q) + 0x4000u)
#define Q_USED(q)  (Q_DESC(q) + 0x8000u)
#define DATA       (RAM + 0x100000u)

enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

static inline void *ram(struct fake *f, uint64_t gpa)
{
	return f->vm.memory.regions[0].host + (gpa - RAM);
}

static inline void set_desc(struct fake *f, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
			    uint16_t flags, uint16_t next)
{
	uint8_t *d = (uint8_t *)ram(f, table) + 16 * i;

	put_le64(d, addr);
	put_le32(d + 8, len);
	put_le16(d + 12, flags);
	put_le16(d + 14, next);
}

static inline uint16_t avail_idx(struct fake *f, unsigned q)
{
	return get_le16((uint8_t *)ram(f, Q_AVAIL(q)) + 2);
}
static inline uint16_t used_idx(struct fake *f, unsigned q)
{
	return get_le16((uint8_t *)ram(f, Q_USED(q)) + 2);
}

/* Makes a chain available; the caller kicks. */
static inline void offer(struct fake *f, unsigned q, uint16_t head)
{
	uint8_t *a = ram(f, Q_AVAIL(q));
	uint16_t i = avail_idx(f, q);

	put_le16(a + 4 + 2 * (i % Q_SIZE), head);
	put_le16(a + 2, (uint16_t)(i + 1));
}

static inline uint32_t used_len(struct fake *f, unsigned q, uint16_t i)
{
	return get_le32((uint8_t *)ram(f, Q_USED(q)) + 4 + 8 * (i % Q_SIZE) + 4);
}

static inline uint64_t features(struct fake *f, uint64_t base)
{
	uint64_t low;

	wr(f, base + 0x14, 4, 0);
	low = rd(f, base + 0x10, 4);
	wr(f, base + 0x14, 4, 1);
	return low | rd(f, base + 0x10, 4) << 32;
}

static inline void queue_up(struct fake *f, uint64_t base, unsigned q)
{
	wr(f, base + 0x30, 4, q);
	wr(f, base + 0x38, 4, Q_SIZE);
	wr(f, base + 0x80, 4, Q_DESC(q));
	wr(f, base + 0x84, 4, 0);
	wr(f, base + 0x90, 4, Q_AVAIL(q));
	wr(f, base + 0x94, 4, 0);
	wr(f, base + 0xa0, 4, Q_USED(q));
	wr(f, base + 0xa4, 4, 0);
	wr(f, base + 0x44, 4, 1);
}

/* Reset, negotiate what is wanted of what is offered, bring up nq queues, DRIVER_OK. */
static inline void driver_up(struct fake *f, uint64_t base, uint64_t want, unsigned nq)
{
	wr(f, base + 0x70, 4, 0);
	for (unsigned q = 0; q < nq; q++)
		memset(ram(f, Q_DESC(q)), 0, 0x10000);
	wr(f, base + 0x70, 4, 3);
	want &= features(f, base);
	wr(f, base + 0x24, 4, 0);
	wr(f, base + 0x20, 4, (uint32_t)want);
	wr(f, base + 0x24, 4, 1);
	wr(f, base + 0x20, 4, want >> 32);
	wr(f, base + 0x70, 4, 3 | 8);
	for (unsigned q = 0; q < nq; q++)
		queue_up(f, base, q);
	wr(f, base + 0x70, 4, 3 | 8 | 4);
}

static inline uint8_t status(struct fake *f, uint64_t base)
{
	return (uint8_t)rd(f, base + 0x70, 4);
}
static inline void kick(struct fake *f, uint64_t base, unsigned q) { wr(f, base + 0x50, 4, q); }

static inline bool page_dirty(struct fake *f, uint64_t gpa)
{
	uint64_t page = (gpa - RAM) / 4096;

	return atomic_load(&f->vm.memory.regions[0].dirty[page / 64]) >> (page % 64) & 1;
}

static inline void clear_dirty(struct fake *f)
{
	struct region *r = &f->vm.memory.regions[0];

	for (size_t i = 0; i < bitmap_words(r->npages); i++)
		atomic_store(&r->dirty[i], 0);
}

#endif
