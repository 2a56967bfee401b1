/* SPDX-License-Identifier: MIT */
#include "libcommon/client/lease_internal.h"

#include "libcommon/client/control.h"
#include "libcommon/io.h"
#include "libcommon/populated.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One request, one answer: the channel is ours alone, so an answer with another verb or serial
 * comes from a broken peer and ends the lease on our side too. Every wait has a limit: a vmrun that
 * is stopped or hangs is a peer that went away. */

#define LEASE_RAM_MAX    ((uint64_t)1 << 44)     /* LIMIT_REGION_BYTES */
#define PRESENT_PAGES    32768u                  /* of a page of the bitmap */
#define LEASE_TRY_MS     20                      /* between two attempts to get a lease */
#define LEASE_TICK_MS    100
#define LEASE_DEATH_MS   1000
#define LEASE_AHEAD      32u                     /* unanswered clears: they fit a socket buffer */

/* What docs/control.md 6 promises of the bytes on the channel. */
static_assert(sizeof(struct lease_msg) == 336 && offsetof(struct lease_msg, text) == 80 &&
	      sizeof(struct lease_region) == 72, "the messages of a lease have changed");
static_assert(sizeof(((struct lease *)0)->rams) / sizeof(struct lease_ram) <= IO_FDS_MAX,
	      "as many as format allows");

/* From here on every call fails in the same way: the first reason is the true one, later ones
 * follow from it. */
static int lease_lost(struct lease *l, enum fail_kind kind, int sys, const char *reason,
		      struct fail *why)
{
	if (l->lost == FAIL_NONE) {
		l->lost     = kind;
		l->lost_sys = sys;
		snprintf(l->lost_why, sizeof(l->lost_why), "%.*s", (int)sizeof(l->lost_why) - 1,
			 reason);
	}
	fail_set(why, l->lost, "%s: lease lost: %s", l->vm, l->lost_why);
	why->sys = l->lost_sys;
	return -1;
}

/* The channel has ended without LEASE_LOST. A process that is killed closes it a little before its
 * pidfd becomes readable, hence the wait: only that tells a dead vmrun from one that ended the
 * lease. */
static int lease_closed(struct lease *l, struct fail *why)
{
	struct pollfd p = { .fd = l->vmrun, .events = POLLIN };

	if (l->lost == FAIL_NONE && l->vmrun >= 0 && poll(&p, 1, LEASE_DEATH_MS) > 0)
		return lease_lost(l, FAIL_ENDED, 0, "the VM has ended: vmrun died", why);
	return lease_lost(l, FAIL_PEER, 0, "lease connection closed by vmrun", why);
}

static enum fail_kind lease_kind_of(const struct lease_msg *m)
{
	return m->kind > FAIL_NONE && m->kind < FAIL_KINDS ? (enum fail_kind)m->kind : FAIL_PEER;
}

/* One message of any kind; the end of the channel is a lost lease. */
static int lease_receive(struct lease *l, struct lease_msg *m, int *fds, size_t *nfds,
			 unsigned timeout_ms, struct fail *why)
{
	uint64_t deadline = io_now_ns() + (uint64_t)timeout_ms * 1000000u;
	size_t   got = 0, capacity = nfds ? *nfds : 0;

	/* Twice: a peer that closed with our request unread is first seen as a reset; what it sent
	 * before comes after that. */
	for (int i = 0; i < 2 && !got; i++) {
		if (nfds)
			*nfds = capacity;
		if (io_packet_recv(l->fd, m, sizeof(*m), &got, fds, nfds, deadline, "vmrun", why))
			return lease_lost(l, why->kind, why->sys, why->what, why);
	}
	m->text[sizeof(m->text) - 1] = '\0';
	if (got == 0)
		return lease_closed(l, why);
	if (got == sizeof(*m) && m->verb != LEASE_LOST)
		return 0;
	for (size_t i = 0; nfds && i < *nfds; i++)
		close(fds[i]);
	if (nfds)
		*nfds = 0;
	if (got != sizeof(*m))
		return lease_lost(l, FAIL_PEER, 0, "incompatible lease protocol version", why);
	return lease_lost(l, lease_kind_of(m), 0, m->text, why);
}

static int lease_send(struct lease *l, struct lease_msg *m, int fd, struct fail *why)
{
	if (l->lost != FAIL_NONE)
		return lease_lost(l, l->lost, 0, "", why);
	m->serial = ++l->serial;
	m->status = LEASE_OK;
	m->kind   = FAIL_NONE;
	if (io_packet_send(l->fd, m, sizeof(*m), &fd, fd >= 0 ? 1 : 0, "vmrun", why) == 0)
		return 0;

	/* The reason for a closed channel may be unread in it. */
	struct lease_msg last;
	int              fds[IO_FDS_MAX];
	size_t           nfds = IO_FDS_MAX;

	while (lease_receive(l, &last, fds, &nfds, 1000, why) == 0) {
		for (size_t i = 0; i < nfds; i++)
			close(fds[i]);
		nfds = IO_FDS_MAX;
	}
	return -1;
}

/* The answer to serial with exactly `want` descriptors. */
static int lease_answer(struct lease *l, uint32_t verb, uint32_t serial, struct lease_msg *m,
			int *fds, size_t want, unsigned timeout_ms, struct fail *why)
{
	size_t nfds = want;

	if (lease_receive(l, m, fds, want ? &nfds : NULL, timeout_ms, why))
		return -1;
	if (m->verb == verb && m->serial == serial && m->status == LEASE_OK &&
	    (!want || nfds == want))
		return 0;
	for (size_t i = 0; want && i < nfds; i++)
		close(fds[i]);
	if (m->verb != verb || m->serial != serial || m->status == LEASE_OK)
		return lease_lost(l, FAIL_PEER, 0, "unexpected reply from vmrun", why);
	return fail_set(why, lease_kind_of(m), "%s: %s", l->vm,
			m->text[0] ? m->text : "refused without giving a reason");
}

int lease_call(struct lease *l, struct lease_msg *m, int fd, int *fds, size_t want,
	       unsigned timeout_ms, struct fail *why)
{
	uint32_t verb = m->verb;

	if (lease_send(l, m, fd, why))
		return -1;
	return lease_answer(l, verb, l->serial, m, fds, want, timeout_ms, why);
}

static int lease_region_check(const struct lease *l, const struct lease_ram *ram, struct fail *why)
{
	const struct lease_region *r = &ram->r;

	if (r->page_size < 4096 || (r->page_size & (r->page_size - 1)) || r->size == 0 ||
	    r->size > LEASE_RAM_MAX || r->size % r->page_size || r->backing > 1 ||
	    r->base > INT64_MAX - r->size)
		return fail_set(why, FAIL_PEER, "%s: invalid region %u", l->vm, r->id);
	for (uint32_t i = 0; i < l->nrams; i++)
		if (l->rams[i].r.id == r->id)
			return fail_set(why, FAIL_PEER, "%s: duplicate region %u", l->vm, r->id);
	return 0;
}

static int lease_regions(struct lease *l, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_REGIONS };

	if (lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why))
		return -1;
	uint64_t count = m.a[0];

	if (count > sizeof(l->rams) / sizeof(l->rams[0]))
		return fail_set(why, FAIL_LIMIT, "%s: too many regions: %llu", l->vm,
				(unsigned long long)count);
	while (l->nrams < count) {
		struct lease_ram *ram = &l->rams[l->nrams];

		if (lease_answer(l, LEASE_REGIONS, l->serial, &m, &ram->fd, 1, LEASE_ANSWER_MS,
				 why))
			return -1;
		ram->r = m.region;
		ram->r.name[sizeof(ram->r.name) - 1] = '\0';
		if (lease_region_check(l, ram, why)) {
			io_close(&ram->fd);
			return -1;
		}
		ram->npages       = ram->r.size / ram->r.page_size;
		ram->present_hint = m.a[0] < ram->npages ? m.a[0] : ram->npages;
		l->nrams++;
	}
	return 0;
}

/* pidfd of who made the channel: for a socketpair(2) the kernel tells both ends. -1 in another PID
 * namespace, or when the process is gone. */
static int lease_process(int fd)
{
	struct ucred cred;
	socklen_t    len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) || cred.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, cred.pid, 0);
}

int lease_adopt(struct lease **out, int fd, const char *vm, struct fail *why)
{
	struct lease *l = calloc(1, sizeof(*l));

	if (!l) {
		fail_sys(why, "lease");
		close(fd);
		return -1;
	}
	l->fd    = fd;
	l->vmrun = lease_process(fd);
	snprintf(l->vm, sizeof(l->vm), "%s", vm);
	for (size_t i = 0; i < sizeof(l->rams) / sizeof(l->rams[0]); i++)
		l->rams[i].fd = l->rams[i].round_fd = -1;
	if (lease_regions(l, why)) {
		lease_close(l);
		return -1;
	}
	*out = l;
	return 0;
}

int lease_open_token(struct lease **out, struct control *c, enum lease_kind kind,
		     const char *holder, const char *token, struct fail *why)
{
	uint64_t until = io_now_ns() + (uint64_t)LEASE_WAIT_MS * 1000000u;
	json_t  *args  = json_pack("{s:s, s:s, s:s*}", "kind", lease_kinds[kind].name,
			     "holder", holder, "token", token);
	int      fd = -1, rc;

	if (!args) {
		errno = ENOMEM;
		return fail_sys(why, "lease");
	}
	while ((rc = control_execute(c, "vmferry-lease", args, NULL, &fd, NULL, LEASE_ANSWER_MS,
				     why))) {
		/* Refused by a running VM: FAIL_PEER. Another client may be about to close the
		 * lease. */
		if (why->kind != FAIL_PEER || !lease_kinds[kind].exclusive || io_now_ns() >= until)
			break;
		poll(NULL, 0, LEASE_TRY_MS);
	}
	json_decref(args);
	if (rc)
		return -1;
	if (fd < 0)
		return fail_set(why, FAIL_PEER,
				"invalid reply to vmferry-lease: missing file descriptor");
	return lease_adopt(out, fd, control_vm(c), why);
}

int lease_open(struct lease **out, struct control *c, enum lease_kind kind, const char *holder,
	       struct fail *why)
{
	return lease_open_token(out, c, kind, holder, NULL, why);
}

void lease_close(struct lease *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < sizeof(l->rams) / sizeof(l->rams[0]); i++) {
		struct lease_ram *ram = &l->rams[i];

		if (ram->round)
			munmap(ram->round, bitmap_bytes(ram->npages));
		io_close(&ram->fd);
		io_close(&ram->round_fd);
	}
	io_close(&l->fd);
	io_close(&l->vmrun);
	free(l);
}

/* A tree in a memfd. */
static int lease_tree(struct lease *l, enum lease_verb verb, uint8_t **fdt, size_t *len,
		      struct fail *why)
{
	struct lease_msg m = { .verb = verb };
	uint8_t         *buf;
	int              fd = -1, rc = -1;

	if (lease_call(l, &m, -1, &fd, 1, LEASE_ANSWER_MS, why))
		return -1;
	if (m.a[0] == 0 || m.a[0] > LEASE_TREE_MAX) {
		close(fd);
		return fail_set(why, FAIL_LIMIT, "%s: invalid VM tree size: %llu bytes", l->vm,
				(unsigned long long)m.a[0]);
	}
	buf = malloc((size_t)m.a[0]);
	if (!buf)
		fail_sys(why, "%s: VM tree", l->vm);
	else
		rc = io_pread(fd, buf, (size_t)m.a[0], 0, "VM tree", why);
	close(fd);
	if (rc) {
		free(buf);
		return -1;
	}
	*fdt = buf;
	*len = (size_t)m.a[0];
	return 0;
}

int lease_config(struct lease *l, uint8_t **fdt, size_t *len, struct fail *why)
{
	return lease_tree(l, LEASE_CONFIG, fdt, len, why);
}

int lease_image(struct lease *l, const char *name, int *fd, uint64_t *len, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_IMAGE };

	snprintf(m.text, sizeof(m.text), "%s", name);
	if (lease_call(l, &m, -1, fd, 1, LEASE_ANSWER_MS, why))
		return -1;
	*len = m.a[0];
	return 0;
}

int lease_image_put(struct lease *l, const char *name, int fd, uint64_t len, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_IMAGE_PUT, .a = { len } };

	snprintf(m.text, sizeof(m.text), "%s", name);
	return lease_call(l, &m, fd, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_state(struct lease *l, uint8_t **fdt, size_t *len, struct fail *why)
{
	return lease_tree(l, LEASE_STATE, fdt, len, why);
}

/* Maps a bitmap of the region. The file must be long enough: reading past its end would be SIGBUS
 * later. */
static void *lease_map(const struct lease *l, const struct lease_ram *ram, int fd, int prot,
		       struct fail *why)
{
	size_t      len = bitmap_bytes(ram->npages);
	struct stat st;

	if (fstat(fd, &st)) {
		fail_sys(why, "%s: bitmap", l->vm);
		return NULL;
	}
	if (st.st_size < 0 || (uint64_t)st.st_size < len) {
		fail_set(why, FAIL_PEER, "%s: bitmap of region %u too short", l->vm, ram->r.id);
		return NULL;
	}
	void *map = mmap(NULL, len, prot, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED)
		return map;
	fail_sys(why, "%s: map bitmap", l->vm);
	return NULL;
}

/* The set bits of the present bitmap. Its file has holes where there are none: reading those, even
 * by a mapping, would make pages of them. */
static int lease_count(struct lease *l, struct lease_ram *ram, int fd, struct fail *why)
{
	const uint64_t *map = lease_map(l, ram, fd, PROT_READ, why);
	const uint64_t  npages = (bitmap_bytes(ram->npages) + 4095) / 4096;
	uint64_t        first, end = 0;
	int             rc;

	if (!map)
		return -1;
	while ((rc = populated_extent(fd, npages, end, &first, &end, why)) > 0) {
		uint64_t from = first * PRESENT_PAGES, to = end * PRESENT_PAGES;

		to = to < ram->npages ? to : ram->npages;
		ram->present += bitmap_count(map + from / 64, to - from);
	}
	munmap((void *)(uintptr_t)map, bitmap_bytes(ram->npages));
	return rc ? fail_prefix(why, "%s: present bitmap: ", l->vm) : 0;
}

static int lease_log_region(struct lease *l, struct lease_ram *ram, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_LOG_START, .a = { ram->r.id } };
	int              fds[2];

	if (ram->round)
		return 0;
	if (lease_call(l, &m, -1, fds, 2, LEASE_ANSWER_MS, why))
		return -1;
	ram->round = lease_map(l, ram, fds[0], PROT_READ | PROT_WRITE, why);
	int rc = ram->round ? lease_count(l, ram, fds[1], why) : -1;

	close(fds[1]);
	if (rc || !ram->r.backing)
		io_close(&fds[0]);
	ram->round_fd = fds[0];
	return rc;
}

/* Memory of which only vmrun knows what is present: each page that is or was has had its bit set in
 * the round bitmap, so that the file of this bitmap has a page there, which is a block. */
void lease_ram_look(const struct lease_ram *ram, uint64_t *blocks)
{
	uint64_t    first, end = 0, count = populated_count(ram->npages);
	struct fail ignored;
	int         rc;

	if (ram->r.backing == 0) {
		populated_look(blocks, ram->fd, ram->npages);
		return;
	}
	while ((rc = populated_extent(ram->round_fd, count, end, &first, &end, &ignored)) > 0)
		bitmap_set_range(blocks, first, end - first);
	if (rc < 0)
		bitmap_set_range(blocks, 0, count);
}

int lease_log_start(struct lease *l, struct fail *why)
{
	for (uint32_t i = 0; i < l->nrams; i++)
		if (lease_log_region(l, &l->rams[i], why))
			return -1;
	return 0;
}

int lease_sync(struct lease *l, uint64_t *fresh, uint64_t *took_ns, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_SYNC };

	if (lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why))
		return -1;
	if (fresh)
		*fresh = m.a[0];
	if (took_ns)
		*took_ns = m.a[1];
	return 0;
}

int lease_clear_ranges(struct lease *l, uint32_t region, const struct lease_range *r, size_t n,
		       struct fail *why)
{
	size_t   asked = 0, answered = 0;
	uint32_t serial = l->serial;

	while (answered < n) {
		if (asked < n && asked - answered < LEASE_AHEAD) {
			struct lease_msg m = { .verb = LEASE_CLEAR,
					       .a = { region, r[asked].first, r[asked].count } };

			if (lease_send(l, &m, -1, why))
				return -1;
			asked++;
			continue;
		}
		struct lease_msg m;

		answered++;
		if (lease_answer(l, LEASE_CLEAR, serial + (uint32_t)answered, &m, NULL, 0,
				 LEASE_ANSWER_MS, why)) {
			/* The answers still to come would be taken for those of later calls. */
			if (answered < asked && l->lost == FAIL_NONE)
				lease_lost(l, why->kind, 0, "clear request refused",
					   &(struct fail){ 0 });
			return -1;
		}
	}
	return 0;
}

int lease_throttle(struct lease *l, unsigned percent, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_THROTTLE, .a = { percent } };

	return lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_flush(struct lease *l, int (*tick)(void *arg, struct fail *why), void *arg,
		uint64_t *took_ns, uint64_t *fixed_ns, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_FLUSH };

	if (lease_send(l, &m, -1, why))
		return -1;
	l->flushing = true;
	for (;;) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };

		if (poll(&p, 1, LEASE_TICK_MS) > 0)
			break;
		if (tick && tick(arg, why)) {
			/* The answer still to come would be taken for that of a later call. */
			lease_lost(l, why->kind, why->sys, why->what, &(struct fail){ 0 });
			l->flushing = false;
			return -1;
		}
	}
	l->flushing = false;
	if (lease_answer(l, LEASE_FLUSH, l->serial, &m, NULL, 0, LEASE_ANSWER_MS, why))
		return -1;
	*took_ns  = m.a[0];
	*fixed_ns = m.a[1];
	return 0;
}

int lease_pause(struct lease *l, unsigned deadline_ms, const struct uuid *epoch, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_PAUSE, .a = { deadline_ms }, .uuid = *epoch };

	return lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_renew(struct lease *l, unsigned deadline_ms, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_RENEW, .a = { deadline_ms } };

	return lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_resume(struct lease *l, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_RESUME };

	return lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_quit(struct lease *l, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_QUIT };

	return lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_fill(struct lease *l, uint32_t region, uint64_t first, uint64_t count, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_FILL, .a = { region, first, count } };

	return lease_call(l, &m, -1, NULL, 0, LEASE_SLOW_MS, why);
}

int lease_finish(struct lease *l, bool done, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_FINISH, .a = { done ? 0 : 1 } };

	return lease_call(l, &m, -1, NULL, 0, LEASE_ANSWER_MS, why);
}
