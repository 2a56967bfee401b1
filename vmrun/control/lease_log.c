/* SPDX-License-Identifier: MIT */
#include "vmrun/control/lease_session.h"

#include "vmrun/control/lease_fds.h"
#include "vmrun/control/server.h"
#include "vmrun/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a logging lease sees of guest memory: a shared round bitmap per region, into which every
 * dirty log sync is merged. */

int session_fd_readonly(int fd, const char *what, struct fail *why)
{
	char path[40];
	int  out;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	out = open(path, O_RDONLY | O_CLOEXEC);
	return out < 0 ? fail_sys(why, "%s: reopen read-only", what) : out;
}

/* A zeroed map for both sides. Its size is sealed, so that neither can truncate it and make the
 * other fault. */
static int session_log_map(const char *name, size_t len, bitmap_word **map, struct fail *why)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return fail_sys(why, "%s", name);
	if (ftruncate(fd, (off_t)len) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		fail_sys(why, "%s", name);
		close(fd);
		return -1;
	}
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED) {
		fail_sys(why, "%s", name);
		close(fd);
		return -1;
	}
	*map = at;
	return fd;
}

struct session_seed { bitmap_word *round, *present; };

static void session_seed_run(void *arg, uint64_t first, uint64_t count)
{
	const struct session_seed *s = arg;

	bitmap_mark_range(s->round, first, count);
	bitmap_mark_range(s->present, first, count);
}

/* Marks every present page as dirty, and returns the present bitmap, read-only, for the holder: a
 * file that has data only where there are bits. */
static int session_log_seed(const struct memory *m, const struct region *r, bitmap_word *round,
			    struct fail *why)
{
	struct session_seed seed = { .round = round };
	int                 out = -1, fd, rc;

	fd = session_log_map("present bitmap", bitmap_bytes(r->npages), &seed.present, why);
	if (fd < 0)
		return -1;
	rc = region_present(m, r, session_seed_run, &seed, why);
	munmap(seed.present, bitmap_bytes(r->npages));
	if (rc == 0)
		out = session_fd_readonly(fd, "present bitmap", why);
	close(fd);
	return out;
}

int session_log_start(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct vm   *vm  = g->server->vm;
	unsigned     i   = 0;
	bitmap_word *map = NULL;
	int          round, present;

	while (i < vm->memory.nregions && vm->memory.regions[i].cfg.id != call->in->a[0])
		i++;
	if (i == vm->memory.nregions)
		return fail_set(why, FAIL_USAGE, "log-start: invalid region %llu",
				(unsigned long long)call->in->a[0]);

	struct region *r = &vm->memory.regions[i];

	if (vm_memory_check(vm, why))
		return -1;
	if (g->consumer.map[i])
		return fail_set(why, FAIL_USAGE, "log-start: region %u already logged", r->cfg.id);
	round = session_log_map("round bitmap", bitmap_bytes(r->npages), &map, why);
	if (round < 0)
		return -1;
	g->consumer.map[i] = map;
	if (!g->logging && dirty_consumer_add(&vm->dirty, &g->consumer, why))
		goto fail;
	g->logging = true;
	/* In this order: log, sync, then look which pages are present. A page that becomes present
	 * in between is named by one of the two. */
	if (dirty_sync(&vm->dirty, &g->consumer, NULL, why))
		goto fail;
	present = session_log_seed(&vm->memory, r, map, why);
	if (present < 0)
		goto fail;
	call->fds[0] = round;
	call->fds[1] = present;
	call->nfds   = 2;
	return 0;
fail:
	g->consumer.map[i] = NULL;
	munmap(map, bitmap_bytes(r->npages));
	close(round);
	return -1;
}

void session_log_stop(struct lease_session *g)
{
	struct vm *vm = g->server->vm;

	if (!g->logging)
		return;
	dirty_consumer_remove(&vm->dirty, &g->consumer);
	g->logging = false;
	for (unsigned i = 0; i < vm->memory.nregions; i++)
		if (g->consumer.map[i]) {
			munmap(g->consumer.map[i], bitmap_bytes(vm->memory.regions[i].npages));
			g->consumer.map[i] = NULL;
		}
}
