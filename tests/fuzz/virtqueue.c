/* SPDX-License-Identifier: MIT */
/* A hostile guest against the board: its input is a program of register writes, ring contents and
 * pauses. Nothing may crash or touch memory that is not RAM, and whatever it does, the state it
 * leaves must load again. */
#include "tests/unit/virtio_driver.h"

#include "libcommon/io.h"

#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_SIZE  0x40000u
#define DISK_SIZE 0x20000u
#define OPS_MAX   400

static struct fake f;
static int         disk_fd;

static void guard(uint8_t *at)
{
	/* Best effort: where something else lies already, that is the guard. */
	mmap(at, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void setup(void)
{
	static uint8_t blank[DISK_SIZE];
	struct machine cfg;
	struct fail    why;
	char           path[64];

	disk_fd = io_memfd("disk", blank, sizeof(blank), &why);
	if (disk_fd < 0)
		abort();
	/* Sealed in size by io_memfd: a request that would make it grow fails, and shows below. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk_fd);
	fake_machine(&cfg);
	cfg.regions[0].size = RAM_SIZE;
	cfg.ncpus           = 2;
	fake_disk(&cfg, "root", path, false);
	fake_device(&cfg, "virtio-rng", "");
	fake_serial(&cfg, "hvc0", "none");
	fake_device(&cfg, "virtio-console", "hvc0");
	fake_open(&f, &cfg);
	guard(f.vm.memory.regions[0].host + RAM_SIZE);
	guard(f.vm.memory.regions[0].host - 65536);
}

/* Saves every device, resets, loads: what a guest has made of a device must be a state its own
 * tables accept. */
static void round_trip(void)
{
	static const char *const types[] = { "sifive-plic", "ns16550a", "goldfish-rtc",
					     "virtio-blk", "virtio-rng", "virtio-console" };
	static struct fake_sections saved[6];
	struct fail              why = { 0 };

	if (board_pause(f.vm.board, &why))
		abort();
	for (unsigned i = 0; i < 6; i++)
		fake_save(&f, types[i], &saved[i]);
	board_reset(f.vm.board);
	for (unsigned i = 0; i < 6; i++) {
		struct state_section sections[MACHINE_SECTIONS_MAX];
		struct device    *d = fake_find(&f, types[i]);
		size_t            n = d->ops->sections(d, sections, MACHINE_SECTIONS_MAX);

		for (size_t j = 0; j < n; j++)
			for (const struct field *r = sections[j].table->fields;
			     r->type != FIELD_END; r++)
				for (uint32_t k = 0; k < r->count && r->type < FIELD_BYTES; k++)
					if (state_value(r, saved[i].data[j], k) < r->min ||
					    state_value(r, saved[i].data[j], k) > r->max) {
						fprintf(stderr, "%s.%s\n", sections[j].node,
							r->name);
						abort();
					}
		if (fake_load(&f, types[i], &saved[i], &why)) {
			fprintf(stderr, "%s: %s\n", types[i], why.what);
			abort();
		}
	}
	board_resume(f.vm.board, &why);
}

/* Waits for the disk's threads: else a pause puts most requests back before they have begun. */
static void process_events(void)
{
	struct device *d = fake_find(&f, "virtio-blk");
	bool           busy;

	do {
		json_t *j = json_object();

		sched_yield();
		pthread_mutex_lock(&f.vm.machine_lock);
		d->ops->counters(d, j);
		pthread_mutex_unlock(&f.vm.machine_lock);
		busy = json_integer_value(json_object_get(j, "in-flight")) > 0;
		json_decref(j);
	} while (busy);
}

static const uint8_t *in, *end;

static uint32_t take(unsigned n)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n && in < end; i++)
		v |= (uint32_t)*in++ << (8 * i);
	return v;
}

static uint64_t place(void)
{
	static const uint32_t bases[] = { 0x10001000, 0x10002000, 0x10003000, 0x10000000,
					  0x00101000, 0x0c000000, 0x0c200000, 0x0c002000 };

	return bases[take(1) % 8] + (take(2) & 0xfff);
}

/* A driver brought up on rings that overlap as little as the small RAM allows. */
static void bring_up(uint64_t base, uint32_t flags)
{
	unsigned nq = base == 0x10003000 ? 2 : 1;

	wr(&f, base + 0x70, 4, 0);
	wr(&f, base + 0x70, 4, 3);
	wr(&f, base + 0x24, 4, 0);
	wr(&f, base + 0x20, 4, flags & 0x30000000);
	wr(&f, base + 0x24, 4, 1);
	wr(&f, base + 0x20, 4, 1);
	wr(&f, base + 0x70, 4, 11);
	for (unsigned q = 0; q < nq; q++)
		queue_up(&f, base, q);
	wr(&f, base + 0x70, 4, 15);
}

static void step(void)
{
	static const uint8_t types[] = { 0, 1, 4, 8, 11, 13, 99 };
	uint32_t             op = take(1), at, n;
	uint64_t             gpa;

	switch (op % 10) {
	case 0:
		gpa = place();
		wr(&f, gpa, 1u << take(1) % 4, take(4));
		break;
	case 1:
		gpa = place();
		rd(&f, gpa, 1u << take(1) % 4);
		break;
	case 2:      /* bytes anywhere in RAM */
		at = take(3) % RAM_SIZE;
		n  = take(1) % 64;
		for (; n && at < RAM_SIZE; n--, at++)
			*(uint8_t *)ram(&f, RAM + at) = (uint8_t)take(1);
		break;
	case 3:      /* a descriptor, its address near RAM */
		at = take(1);
		set_desc(&f, Q_DESC(at >> 7), at & 15, RAM + (take(3) & 0x7ffff) - 0x10,
			 op & 0x80 ? take(4) : take(2), (uint16_t)(take(1) % 8),
			 (uint16_t)(take(1) % 20));
		break;
	case 4:      /* a disk request's header */
		at = take(3) % (RAM_SIZE - 16);
		memset(ram(&f, RAM + at), 0, 16);
		*(uint8_t *)ram(&f, RAM + at) = types[take(1) % 7];
		put_le32((uint8_t *)ram(&f, RAM + at) + 8, take(2));
		break;
	case 5:
		at = take(1);
		offer(&f, at >> 7, at & 15);
		kick(&f, 0x10001000 + 0x1000 * (op / 10 % 3), at >> 7);
		process_events();
		break;
	case 6:
		bring_up(0x10001000 + 0x1000 * (op / 10 % 3), take(4));
		break;
	case 7:
		round_trip();
		break;
	case 8:      /* several waiting requests at once */
		for (n = take(1) % 32; n; n--)
			offer(&f, 0, (uint16_t)(n & 15));
		kick(&f, 0x10001000 + 0x1000 * (op / 10 % 3), 0);
		break;
	default:
		kick(&f, 0x10001000 + 0x1000 * (op / 10 % 3), take(1) % 4);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct fail why;
	uint64_t    disk_size;

	if (!ready)
		setup();
	ready = true;
	memset(ram(&f, RAM), 0, RAM_SIZE);
	fake_start(&f);
	in  = data;
	end = data + size;
	for (unsigned ops = 0; in < end && ops < OPS_MAX; ops++)
		step();
	round_trip();
	if (board_pause(f.vm.board, &why))
		abort();
	disk_size = (uint64_t)lseek(disk_fd, 0, SEEK_END);
	if (disk_size != DISK_SIZE)
		abort();
	return 0;
}
