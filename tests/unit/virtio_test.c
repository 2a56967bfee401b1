/* SPDX-License-Identifier: MIT */
/* The register window and the life of a device, on an entropy source and a console. */
#include "tests/unit/virtio_driver.h"

#include "format/state/state_virtio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#define RNG      0x10001000u
#define CONSOLE  0x10002000u
#define ALL      UINT64_MAX

static struct fake f;

static void window(void)
{
	ok(rd(&f, RNG, 4) == 0x74726976 && rd(&f, RNG + 4, 4) == 2 && rd(&f, RNG + 8, 4) == 4,
	   "magic, version 2, entropy source");
	ok(features(&f, RNG) == (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX),
	   "the ring's features are offered");
	ok(rd(&f, RNG, 1) == 0 && rd(&f, RNG + 2, 2) == 0 && rd(&f, RNG + 1, 4) == 0,
	   "registers are read whole");
	ok(rd(&f, RNG + 0xb0, 4) == UINT32_MAX && rd(&f, RNG + 0xbc, 4) == UINT32_MAX,
	   "there is no shared memory");
	wr(&f, RNG + 0x30, 4, 5);
	ok(rd(&f, RNG + 0x34, 4) == 0 && rd(&f, RNG + 0x44, 4) == 0,
	   "a queue that does not exist has no size");
	wr(&f, RNG + 0x44, 4, 1);
	wr(&f, RNG + 0x50, 4, 5);

	wr(&f, RNG + 0x70, 4, 3);
	wr(&f, RNG + 0x24, 4, 0);
	wr(&f, RNG + 0x20, 4, 1);
	wr(&f, RNG + 0x70, 4, 3 | 8);
	ok(status(&f, RNG) == 3, "features that were not offered are refused");
	wr(&f, RNG + 0x20, 4, 0);
	wr(&f, RNG + 0x70, 4, 3 | 8);
	ok(status(&f, RNG) == 3, "so is a driver of before version 1");
	wr(&f, RNG + 0x70, 4, 3 | 4);
	ok(status(&f, RNG) == 3, "no driver runs without agreed features");
	wr(&f, RNG + 0x44, 4, 1);

	driver_up(&f, RNG, ALL, 1);
	ok(status(&f, RNG) == 15 && rd(&f, RNG + 0x44, 4) == 1, "a sane driver comes up");
	wr(&f, RNG + 0x20, 4, 0);
	wr(&f, RNG + 0x80, 4, 0);
	wr(&f, RNG + 0x70, 4, 1);
	ok(status(&f, RNG) == 15, "bits of the status are taken back by a reset only");
}

static void entropy(void)
{
	static const uint8_t zero[64];

	memset(ram(&f, DATA), 0, 4096);
	set_desc(&f, Q_DESC(0), 0, DATA, 64, D_WRITE, 0);
	offer(&f, 0, 0);
	clear_dirty(&f);
	kick(&f, RNG, 0);
	ok(used_idx(&f, 0) == 1 && used_len(&f, 0, 0) == 64 && memcmp(ram(&f, DATA), zero, 64),
	   "64 bytes of entropy");
	ok(page_dirty(&f, DATA) && page_dirty(&f, Q_USED(0)), "buffer and used ring are marked");
	ok(rd(&f, RNG + 0x60, 4) == 1, "the interrupt says used");
	wr(&f, RNG + 0x64, 4, 1);
	ok(rd(&f, RNG + 0x60, 4) == 0, "acknowledged, it is gone");
	set_desc(&f, Q_DESC(0), 1, DATA, 64, 0, 0);
	offer(&f, 0, 1);
	kick(&f, RNG, 0);
	ok(used_idx(&f, 0) == 2 && used_len(&f, 0, 1) == 0,
	   "a buffer that can't be written gets nothing");
}

static void mistakes(void)
{
	struct fake_sections saved;
	struct fail       why;

	set_desc(&f, Q_DESC(0), 0, 0, 64, D_WRITE, 0);
	offer(&f, 0, 0);
	kick(&f, RNG, 0);
	ok(status(&f, RNG) == (15 | 0x40) && rd(&f, RNG + 0x60, 4) & 2,
	   "a buffer outside of RAM: NEEDS_RESET, and told");
	set_desc(&f, Q_DESC(0), 0, DATA, 64, D_WRITE, 0);
	kick(&f, RNG, 0);
	ok(used_idx(&f, 0) == 2, "nothing is served any more");
	fake_save(&f, "virtio-rng", &saved);
	board_reset(f.vm.board);
	ok(status(&f, RNG) == 0, "a reset of the machine");
	ok(fake_load(&f, "virtio-rng", &saved, &why) == 0 && status(&f, RNG) == (15 | 0x40),
	   "the state goes through a save and a load");
	struct virtio_state    *core = (struct virtio_state *)saved.data[0], core_was = *core;
	struct virtqueue_state *vq   = (struct virtqueue_state *)saved.data[1], vq_was = *vq;

	vq->used = RAM - 64;
	ok(fake_load(&f, "virtio-rng", &saved, &why) == -1,
	   "a loaded ring outside of RAM is refused");
	*vq = vq_was;
	vq->last_avail++;
	ok(fake_load(&f, "virtio-rng", &saved, &why) == -1,
	   "requests in flight in a save are refused");
	*vq = vq_was;
	vq->size = 3;
	ok(fake_load(&f, "virtio-rng", &saved, &why) == -1, "a queue size of 3 is refused");
	*vq = vq_was;
	core->device_features |= 1;
	ok(fake_load(&f, "virtio-rng", &saved, &why) == -1,
	   "features this build does not have are refused");
	*core = core_was;
	core->driver_features = 0;
	ok(fake_load(&f, "virtio-rng", &saved, &why) == -1,
	   "a running driver without features is refused");
	board_reset(f.vm.board);

	wr(&f, RNG + 0x70, 4, 0);
	wr(&f, RNG + 0x30, 4, 0);
	wr(&f, RNG + 0x38, 4, 3);
	ok(status(&f, RNG) == 0x40, "a queue size of 3 from the driver");
	driver_up(&f, RNG, ALL & ~VIRTIO_F_EVENT_IDX, 1);
	ok(status(&f, RNG) == 15, "a reset heals it");
	wr(&f, RNG + 0x44, 4, 0);
	ok(rd(&f, RNG + 0x44, 4) == 0, "a queue can be taken down");
	wr(&f, RNG + 0x38, 4, 16);
	wr(&f, RNG + 0x80, 4, 0);
	wr(&f, RNG + 0x44, 4, 1);
	ok(status(&f, RNG) & 0x40, "a queue outside of RAM from the driver");
}

static void console(const char *dir)
{
	char  path[128], got[64];
	int   fd;

	snprintf(path, sizeof(path), "%s/out", dir);
	fd = open(path, O_RDONLY);
	driver_up(&f, CONSOLE, ALL, 2);
	ok(status(&f, CONSOLE) == 15, "the console comes up with two queues");
	memcpy(ram(&f, DATA), "hello, host", 11);
	set_desc(&f, Q_DESC(1), 0, DATA, 5, D_NEXT, 1);
	set_desc(&f, Q_DESC(1), 1, DATA + 5, 6, 0, 0);
	offer(&f, 1, 0);
	kick(&f, CONSOLE, 1);
	ok(read(fd, got, sizeof(got)) == 11 && !memcmp(got, "hello, host", 11),
	   "text goes to the host in order");
	ok(used_idx(&f, 1) == 1 && rd(&f, CONSOLE + 0x60, 4) == 1, "and its buffers come back");
	kick(&f, CONSOLE, 0);
	close(fd);
	unlink(path);
}

int main(void)
{
	char           dir[] = "/tmp/virtio_test.XXXXXX", spec[80];
	struct machine cfg;

	if (!mkdtemp(dir))
		return 1;
	snprintf(spec, sizeof(spec), "file:%s/out", dir);
	fake_machine(&cfg);
	fake_device(&cfg, "virtio-rng", "");
	fake_serial(&cfg, "hvc0", spec);
	fake_device(&cfg, "virtio-console", "hvc0");
	fake_open(&f, &cfg);
	fake_start(&f);
	window();
	entropy();
	mistakes();
	console(dir);
	fake_close(&f);
	rmdir(dir);
	return done_testing();
}
