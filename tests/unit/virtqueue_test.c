/* SPDX-License-Identifier: MIT */
/* Split rings: what a sane driver does, and everything a hostile one can write into its rings. */
#include "tests/unit/virtio_driver.h"

#include "vmrun/devices/virtqueue.h"
#include "vmrun/memory_file.h"

#include <stdio.h>
#include <string.h>

static struct fake        f;
static struct virtqueue   q;
static struct virtq_chain c;
static const char        *mistake;

static void fresh(bool indirect, bool event_idx)
{
	memset(ram(&f, RAM), 0, 0x10000);
	q = (struct virtqueue){ .mem = &f.vm.memory, .indirect = indirect, .event_idx = event_idx,
				.s = { .size = Q_SIZE, .ready = true, .desc = Q_DESC(0),
				       .avail = Q_AVAIL(0), .used = Q_USED(0) } };
}

static bool refused(const char *by)
{
	bool bad = virtq_pop(&q, &c, &mistake) == -1 && !strcmp(mistake, by);

	if (!bad)
		printf("# said: %s\n", mistake);
	return bad && q.s.last_avail == 0;
}

static void sane(void)
{
	uint8_t buf[64];

	fresh(true, false);
	ok(virtq_pop(&q, &c, &mistake) == 0, "an empty ring gives nothing");
	set_desc(&f, Q_DESC(0), 3, DATA, 10, D_NEXT, 7);
	set_desc(&f, Q_DESC(0), 7, DATA + 100, 20, D_NEXT | D_WRITE, 1);
	set_desc(&f, Q_DESC(0), 1, DATA + 4096, 5, D_WRITE, 0);
	offer(&f, 0, 3);
	ok(virtq_pop(&q, &c, &mistake) == 1 && c.head == 3 && c.nread == 1 && c.nwrite == 2 &&
	   c.read_len == 10 && c.write_len == 25,
	   "a chain is taken apart into readable and writable");
	memcpy(ram(&f, DATA), "0123456789", 10);
	ok(virtq_copy_out(q.mem, c.seg, c.nread, 4, buf, 6) == 0 && !memcmp(buf, "456789", 6),
	   "bytes are read from within");
	ok(virtq_copy_out(q.mem, c.seg, c.nread, 4, buf, 7) == -1, "and not from behind its end");
	clear_dirty(&f);
	ok(virtq_copy_in(q.mem, c.seg + 1, 2, 18, "abcdefg", 7) == 0 &&
	   !memcmp(ram(&f, DATA + 118), "ab", 2) &&
	   !memcmp(ram(&f, DATA + 4096), "cdefg", 5), "bytes are written across buffers");
	ok(page_dirty(&f, DATA) && page_dirty(&f, DATA + 4096) && !page_dirty(&f, DATA + 8192),
	   "and their pages are marked");
	clear_dirty(&f);
	virtq_push(&q, 3, 25);
	ok(used_idx(&f, 0) == 1 && used_len(&f, 0, 0) == 25 && page_dirty(&f, Q_USED(0)),
	   "the used ring says so, and is marked");
	ok(virtq_wants_interrupt(&q), "an interrupt is wanted");
	put_le16(ram(&f, Q_AVAIL(0)), 1);
	ok(!virtq_wants_interrupt(&q), "unless the driver says no");
	offer(&f, 0, 3);
	ok(virtq_pop(&q, &c, &mistake) == 1, "the same chain again");
	virtq_unpop(&q, 1);
	ok(virtq_pop(&q, &c, &mistake) == 1 && c.head == 3, "what was put back comes again");

	fresh(true, false);
	set_desc(&f, Q_DESC(0), 0, DATA + 0x8000, 48, D_INDIRECT, 0);
	set_desc(&f, DATA + 0x8000, 0, DATA, 16, D_NEXT, 2);
	set_desc(&f, DATA + 0x8000, 2, DATA + 512, 1, D_WRITE, 0);
	offer(&f, 0, 0);
	ok(virtq_pop(&q, &c, &mistake) == 1 && c.nread == 1 && c.nwrite == 1,
	   "an indirect table is followed");
}

static void events(void)
{
	fresh(true, true);
	/* used_event: tell me when 2 is passed */
	put_le16((uint8_t *)ram(&f, Q_AVAIL(0)) + 4 + 2 * Q_SIZE, 2);
	set_desc(&f, Q_DESC(0), 0, DATA, 1, 0, 0);
	for (int i = 0; i < 4; i++)
		offer(&f, 0, 0);
	for (int i = 0; i < 2; i++) {
		virtq_pop(&q, &c, &mistake);
		virtq_push(&q, 0, 0);
	}
	ok(virtq_wants_interrupt(&q), "the first look always tells: there is no last time yet");
	ok(!virtq_wants_interrupt(&q), "nothing new, nothing told");
	virtq_pop(&q, &c, &mistake);
	virtq_push(&q, 0, 0);
	ok(virtq_wants_interrupt(&q), "passing used_event tells");
	virtq_pop(&q, &c, &mistake);
	virtq_push(&q, 0, 0);
	ok(!virtq_wants_interrupt(&q), "behind it all is quiet");
	ok(!virtq_rearm(&q) && get_le16((uint8_t *)ram(&f, Q_USED(0)) + 4 + 8 * Q_SIZE) == 4,
	   "avail_event asks for the next");
	offer(&f, 0, 0);
	ok(virtq_rearm(&q), "what came meanwhile is seen");

	fresh(true, true);
	q.s.last_avail = q.s.used_idx = q.s.signalled_used = 0xfffe;
	q.s.signalled_valid = true;
	put_le16((uint8_t *)ram(&f, Q_AVAIL(0)) + 2, 0xfffe);
	put_le16((uint8_t *)ram(&f, Q_AVAIL(0)) + 4 + 2 * Q_SIZE, 0xffff);
	set_desc(&f, Q_DESC(0), 0, DATA, 1, 0, 0);
	for (int i = 0; i < 4; i++)
		offer(&f, 0, 0);
	for (int i = 0; i < 4 && virtq_pop(&q, &c, &mistake) == 1; i++)
		virtq_push(&q, 0, 0);
	ok(q.s.used_idx == 2 && virtq_wants_interrupt(&q), "indices wrap");
}

static void hostile(void)
{
	fresh(false, false);
	offer(&f, 0, Q_SIZE);
	ok(refused("descriptor index out of range"), "a head outside of the table");
	fresh(false, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 1, D_NEXT, 0xffff);
	offer(&f, 0, 0);
	ok(refused("descriptor index out of range"), "a next outside of the table");
	fresh(false, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 1, D_NEXT, 1);
	set_desc(&f, Q_DESC(0), 1, DATA, 1, D_NEXT, 0);
	offer(&f, 0, 0);
	ok(refused("descriptor loop") || !strcmp(mistake, "descriptor chain longer than the queue"),
	   "a loop");
	fresh(false, false);
	put_le16((uint8_t *)ram(&f, Q_AVAIL(0)) + 2, Q_SIZE + 1);
	ok(refused("available index out of range"), "an index ahead of the ring");

	static const struct { uint64_t addr; uint32_t len; const char *claim; } bad[] = {
		{ RAM - 1, 2, "a buffer beginning before RAM" },
		{ RAM + (4u << 20) - 1, 2, "a buffer ending behind RAM" },
		{ RAM, 0, "an empty buffer" },
		{ UINT64_MAX, 1, "a buffer at the end of the world" },
		{ UINT64_MAX - 10, 0xffffffff, "a buffer that wraps around" },
		{ RAM, 0xffffffff, "a buffer longer than RAM" },
		{ 0x10001000, 4, "a buffer in a device" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fresh(false, false);
		set_desc(&f, Q_DESC(0), 0, bad[i].addr, bad[i].len, D_WRITE, 0);
		offer(&f, 0, 0);
		ok(refused("buffer address out of range"), bad[i].claim);
	}
	fresh(false, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 1, D_WRITE | D_NEXT, 1);
	set_desc(&f, Q_DESC(0), 1, DATA, 1, 0, 0);
	offer(&f, 0, 0);
	ok(refused("readable descriptor after a writable one"),
	   "a readable buffer behind a writable one");

	fresh(false, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 16, D_INDIRECT, 0);
	offer(&f, 0, 0);
	ok(refused("unexpected indirect descriptor"), "an indirect table that was not agreed");
	static const uint32_t lens[] = { 0, 8, 17, 16 * (Q_SIZE + 1), 0xfffffff0 };
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		fresh(true, false);
		set_desc(&f, Q_DESC(0), 0, DATA, lens[i], D_INDIRECT, 0);
		offer(&f, 0, 0);
		ok(refused("invalid indirect table length"),
		   "an indirect table of impossible length");
	}
	fresh(true, false);
	set_desc(&f, Q_DESC(0), 0, RAM + (4u << 20) - 16, 32, D_INDIRECT, 0);
	offer(&f, 0, 0);
	ok(refused("indirect table address out of range"), "an indirect table outside of RAM");
	fresh(true, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 16, D_INDIRECT, 0);
	set_desc(&f, DATA, 0, DATA, 16, D_INDIRECT, 0);
	offer(&f, 0, 0);
	ok(refused("unexpected indirect descriptor"), "an indirect table in an indirect table");
	fresh(true, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 16, D_INDIRECT | D_NEXT, 1);
	offer(&f, 0, 0);
	ok(refused("unexpected indirect descriptor"), "an indirect table in the middle of a chain");

	fresh(true, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 1, 0, 0);
	bool held = true;
	for (unsigned i = 0; i < Q_SIZE; i++) {
		offer(&f, 0, 0);
		held = held && virtq_pop(&q, &c, &mistake) == 1;
	}
	offer(&f, 0, 0);
	ok(held && virtq_pop(&q, &c, &mistake) == -1, "more in flight than the queue holds");

	fresh(true, false);
	static const struct { uint16_t size; uint64_t desc, avail,
			      used; const char *claim; } rings[] = {
		{ 0, RAM, RAM, RAM, "a queue without size" },
		{ 3, RAM, RAM, RAM, "a size that is no power of two" },
		{ 512, RAM, RAM, RAM, "a size above the greatest" },
		{ 16, RAM + 8, RAM, RAM, "misaligned descriptors" },
		{ 16, RAM, RAM + 1, RAM, "a misaligned available ring" },
		{ 16, RAM, RAM, RAM + 2, "a misaligned used ring" },
		{ 16, RAM + (4u << 20) - 128, RAM, RAM, "descriptors over the end of RAM" },
		{ 16, RAM, 0, RAM, "an available ring nowhere" },
		{ 16, RAM, RAM, UINT64_MAX - 3, "a used ring that wraps around" },
	};
	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		q.s = (struct virtqueue_state){ .size = rings[i].size, .desc = rings[i].desc,
						.avail = rings[i].avail, .used = rings[i].used };
		ok(!virtq_valid(&q, &mistake), rings[i].claim);
	}
}

/* Guest memory is lost (vmrun/memory.h): what rings and buffers say may not be the guest's. */
static void lost(void)
{
	static struct memory_file file = { .fd = -1 };
	uint8_t                   buf[8];

	fresh(true, false);
	set_desc(&f, Q_DESC(0), 0, DATA, 8, D_NEXT, 1);
	set_desc(&f, Q_DESC(0), 1, DATA + 512, 1, D_WRITE, 0);
	offer(&f, 0, 0);
	offer(&f, 0, 0);
	q.mem->file = &file;
	ok(virtq_pop(&q, &c, &mistake) == 1 && q.s.last_avail == 1,
	   "memory that is a file is like any");
	memory_lose(q.mem);
	ok(virtq_pop(&q, &c, &mistake) == 0 && q.s.last_avail == 1 && !virtq_rearm(&q),
	   "lost: what is in the ring is not taken");
	put_le16(ram(&f, Q_AVAIL(0) + 2), 999);
	ok(virtq_pop(&q, &c, &mistake) == 0, "and what is wrong there is no mistake of the guest");
	ok(virtq_chain_at(&q, 0, &c, &mistake) == 0, "nor taken by its number");
	ok(virtq_copy_out(q.mem, c.seg, c.nread, 0, buf, 8) == -1,
	   "the bytes of a buffer are not used");
	q.mem->file = NULL;
	atomic_store(&q.mem->lost, false);
}

int main(void)
{
	struct machine cfg;

	fake_machine(&cfg);
	fake_open(&f, &cfg);
	sane();
	events();
	hostile();
	lost();
	fake_close(&f);
	return done_testing();
}
