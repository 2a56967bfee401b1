/* SPDX-License-Identifier: MIT */
/* Queue notifications by eventfd: the queue is served as by a write to the register, and nothing
 * is lost to a pause. */
#include "tests/unit/virtio_driver.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RNG 0x10001000u
#define ALL UINT64_MAX

static struct fake f;

static unsigned fds(void)
{
	DIR     *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void signal_queue(unsigned line)
{
	uint64_t one = 1;

	if (write(fake_notify.fd[line], &one, sizeof(one)) != (ssize_t)sizeof(one))
		printf("# eventfd\n");
}

/* Used buffers, which another thread brings about. */
static bool wait_used(uint16_t want, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		pthread_mutex_lock(&f.vm.machine_lock);
		bool there = used_idx(&f, 0) == want;
		pthread_mutex_unlock(&f.vm.machine_lock);
		if (there)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

static void machine(struct machine *cfg)
{
	fake_machine(cfg);
	fake_device(cfg, "virtio-rng", "");
	fake_device(cfg, "virtio-rng", "");
}

int main(void)
{
	static struct machine cfg;
	struct fail           why;
	unsigned              before = fds();

	machine(&cfg);
	fake_open(&f, &cfg);
	ok(!f.vm.board->notifier && fake_notify.set == 0,
	   "an accelerator without notifications gets none");
	fake_close(&f);

	fake_notify.wanted = true;
	fake_open(&f, &cfg);
	fake_start(&f);
	ok(fake_notify.set == 2 && fake_notify.gpa[0] == RNG + 0x50 && fake_notify.value[0] == 0 &&
	   fake_notify.gpa[1] == RNG + 0x1050,
	   "each queue of each device has its own");
	driver_up(&f, RNG, ALL, 1);
	set_desc(&f, Q_DESC(0), 0, DATA, 64, D_WRITE, 0);
	offer(&f, 0, 0);
	signal_queue(0);
	ok(wait_used(1, 5000), "a signal serves the queue");
	signal_queue(0);
	signal_queue(1);
	ok(!wait_used(2, 50),
	   "one for a queue with nothing in it, or of a device without a driver, does nothing");

	ok(board_pause(f.vm.board, &why) == 0, "a pause");
	offer(&f, 0, 0);
	signal_queue(0);
	ok(!wait_used(2, 50), "while it is paused nothing is served");
	ok(board_resume(f.vm.board, &why) == 0 && wait_used(2, 5000),
	   "and when it goes on, nothing is lost");
	wr(&f, RNG + 0x70, 4, 0);
	signal_queue(0);
	ok(!wait_used(3, 50), "after the guest's reset of the device neither");
	fake_close(&f);
	ok(fake_notify.set == 0, "all are taken back at the end");

	fake_notify.fail_at = 2;
	ok(fake_try(&f, &cfg, &why) == -1 && strstr(why.what, "no more eventfds") &&
	   fake_notify.set == 0, "one that fails takes the others back");
	ok(fds() == before, "no descriptor is left behind");
	return done_testing();
}
