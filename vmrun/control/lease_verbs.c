/* SPDX-License-Identifier: MIT */
#include "vmrun/control/lease_session.h"

#include "libcommon/io.h"
#include "vmrun/control/qmp_commands.h"
#include "vmrun/control/lease_fds.h"
#include "vmrun/control/lease_handover.h"
#include "vmrun/control/records.h"
#include "vmrun/control/server.h"
#include "vmrun/blk_all.h"
#include "vmrun/vm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void present_run(void *arg, uint64_t first, uint64_t count)
{
	(void)first;
	*(uint64_t *)arg += count;
}

/* A region of a file is read where it is mapped, as the guest sees it. Sets in *out what is
 * different of it. present: only a hint, to announce a move by. */
static int session_region_file(struct vm *vm, const struct region *r, struct lease_msg *out,
			       struct fail *why)
{
	int rc, fd;

	out->region.backing = 1;
	out->region.base    = (uint64_t)(uintptr_t)r->host;
	pthread_mutex_lock(&vm->control_lock);
	rc = region_present(&vm->memory, r, present_run, &out->a[0], why);
	pthread_mutex_unlock(&vm->control_lock);
	if (rc)
		return -1;
	fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? fail_sys(why, "%s: /proc/self/mem", r->cfg.name) : fd;
}

int session_region(struct lease_session *g, uint32_t i, struct lease_msg *out, int *fd,
		   struct fail *why)
{
	struct vm    *vm = g->server->vm;
	struct region *r = &vm->memory.regions[i];
	bool     writable;

	pthread_mutex_lock(&vm->control_lock);
	writable = lease_kinds[g->kind].writes && command_phase(g->server) == PHASE_INCOMING;
	pthread_mutex_unlock(&vm->control_lock);
	*out = (struct lease_msg){
		.verb = LEASE_REGIONS,
		.region = { .id = r->cfg.id, .kind = (uint32_t)r->cfg.kind, .size = r->cfg.size,
			    .gpa = r->cfg.gpa, .page_size = r->cfg.page_size },
	};
	snprintf(out->region.name, sizeof(out->region.name), "%s", r->cfg.name);
	if (vm->memory.file)
		*fd = session_region_file(vm, r, out, why);
	else if (!writable)
		*fd = session_fd_readonly(r->fd, r->cfg.name, why);
	else if ((*fd = fcntl(r->fd, F_DUPFD_CLOEXEC, 0)) < 0)
		fail_sys(why, "%s: descriptor", r->cfg.name);
	return *fd < 0 ? -1 : 0;
}

static int verb_regions(struct lease_session *g, struct session_call *call, struct fail *why)
{
	(void)why;
	call->out->a[0] = g->server->vm->memory.nregions;
	return 0;
}

/* Answers with a memfd that holds the tree. */
static int verb_give_tree(struct session_call *call, const void *fdt, size_t len, struct fail *why)
{
	call->fds[0] = io_memfd("vmferry-tree", fdt, len, why);
	if (call->fds[0] < 0)
		return -1;
	call->nfds      = 1;
	call->out->a[0] = len;
	return 0;
}

static int verb_config(struct lease_session *g, struct session_call *call, struct fail *why)
{
	uint8_t *buf = malloc(LIMIT_TREE_BYTES);
	size_t   len;
	int      rc;

	if (!buf) {
		errno = ENOMEM;
		return fail_sys(why, "VM tree");
	}
	rc = machine_write(&g->server->vm->cfg, buf, LIMIT_TREE_BYTES, &len, why);
	if (rc == 0)
		rc = verb_give_tree(call, buf, len, why);
	free(buf);
	return rc;
}

static int verb_sync(struct lease_session *g, struct session_call *call, struct fail *why)
{
	uint64_t begin = io_now_ns();

	if (!g->logging)
		return fail_set(why, FAIL_USAGE, "sync: dirty log not started");
	if (dirty_sync(&g->server->vm->dirty, &g->consumer, &call->out->a[0], why))
		return -1;
	call->out->a[1] = io_now_ns() - begin;
	return 0;
}

/* Checks a range: a[0] region, a[1] first page, a[2] pages. */
static int verb_range(const struct lease_session *g, const struct lease_msg *in, struct fail *why)
{
	const struct memory *m = &g->server->vm->memory;

	for (unsigned i = 0; i < m->nregions; i++)
		if (m->regions[i].cfg.id == in->a[0]) {
			if (in->a[1] <= m->regions[i].npages &&
			    in->a[2] <= m->regions[i].npages - in->a[1])
				return 0;
			return fail_set(why, FAIL_USAGE, "page numbers out of range of region %u",
					m->regions[i].cfg.id);
		}
	return fail_set(why, FAIL_USAGE, "invalid region %llu", (unsigned long long)in->a[0]);
}

/* Nothing to do: the sync of the software CPU's dirty log has cleared what it named. */
static int verb_clear(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return verb_range(g, call->in, why);
}

/* Nothing to do for plain RAM: an absent page reads as zero, and no pager has to be asked for it.
 * A holder that could not read a page of a file asks for it to learn why. */
static int verb_fill(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return verb_range(g, call->in, why) ? -1 : vm_memory_check(g->server->vm, why);
}

static int verb_throttle(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct vm *vm = g->server->vm;

	if (call->in->a[0] > 99)
		return fail_set(why, FAIL_USAGE,
				"throttle: value out of range (valid: 0 to 99 percent)");
	vm->accel->ops->throttle(vm->accel, (unsigned)call->in->a[0]);
	g->throttled = call->in->a[0] != 0;
	return 0;
}

/* Removes the lease's pause; the epoch that began with it goes on. */
static int verb_unpause(struct lease_session *g, struct fail *why)
{
	g->paused      = false;
	g->deadline_ns = 0;
	return runstate_drop(g->server->vm, HOLD_LEASE, why);
}

static void pause_took(struct control_server *s, uint64_t ns)
{
	s->pause_ns[1] = s->pause_ns[0];
	s->pause_ns[0] = ns;
}

/* Measures what pausing the VM and saving its state take: a saver must know that before it pauses
 * for good. Once per lease, and with no requests of the guest in flight, which might take long. */
static void flush_rehearse(struct lease_session *g)
{
	struct vm  *vm = g->server->vm;
	uint64_t    begin;
	uint8_t    *fdt;
	size_t      len;
	struct fail why;

	if (g->rehearsed || !vm->run.cpus_running)
		return;
	blk_hold(vm, true);
	begin = io_now_ns();
	if (blk_quiet(vm, &why) == 0 && runstate_quiesce(vm, &why) == 0 &&
	    vm_save(vm, &fdt, &len, &why) == 0) {
		free(fdt);
		pause_took(g->server, io_now_ns() - begin);
		g->rehearsed = true;
	}
	blk_hold(vm, false);
	if (runstate_apply(vm, &why)) {
		vm->end_why = why;
		vm_end(vm, RUN_INTERNAL_ERROR, 1, CAUSE_HOST_ERROR);
	}
}

static int verb_flush(struct lease_session *g, struct session_call *call, struct fail *why)
{
	const uint64_t *known = g->server->pause_ns;

	if (blk_synced(g->server->vm, why))
		return -1;
	call->out->a[0] = io_now_ns() - call->begin_ns;
	flush_rehearse(g);
	/* The shorter of the last two: the other may have been measured on a busy host. */
	call->out->a[1] = known[1] && known[1] < known[0] ? known[1] : known[0];
	return 0;
}

static int verb_pause(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct vm  *vm = g->server->vm;
	uint64_t    ms = call->in->a[0], begin = io_now_ns();
	struct fail undo;

	if (g->paused)
		return fail_set(why, FAIL_USAGE, "pause: already paused");
	if (ms == 0 || ms > SESSION_PAUSE_MS_MAX)
		return fail_set(why, FAIL_USAGE, "pause: deadline out of range (valid: 1 to %u ms)",
				SESSION_PAUSE_MS_MAX);
	if (vm_memory_check(vm, why) || blk_quiet(vm, why))
		return -1;
	vm->run.moving = g->moving;
	if (runstate_hold(vm, HOLD_LEASE, why)) {
		runstate_drop(vm, HOLD_LEASE, &undo);
		return -1;
	}
	g->paused      = true;
	g->state_given = false;
	g->hold_ns     = io_now_ns() - begin;
	g->deadline_ns = call->begin_ns + ms * 1000000u;
	/* What was written up to here belongs to the epoch that ends. */
	if (dirty_sync(&vm->dirty, g->logging ? &g->consumer : NULL, NULL, why) ||
	    dirty_epoch_begin(&vm->dirty, &call->in->uuid, why)) {
		verb_unpause(g, &undo);
		return -1;
	}
	g->epoch = true;
	return 0;
}

static int verb_renew(struct lease_session *g, struct session_call *call, struct fail *why)
{
	uint64_t ms = call->in->a[0];

	if (!g->paused)
		return fail_set(why, FAIL_USAGE, "renew: not paused");
	if (ms == 0 || ms > SESSION_PAUSE_MS_MAX)
		return fail_set(why, FAIL_USAGE, "renew: deadline out of range (valid: 1 to %u ms)",
				SESSION_PAUSE_MS_MAX);
	g->deadline_ns = io_now_ns() + ms * 1000000u;
	return 0;
}

/* Under the lock under which a deadline revokes the lease: a save that has lost its lease cannot
 * end a VM that has run on. */
static int verb_quit(struct lease_session *g, struct session_call *call, struct fail *why)
{
	(void)call;
	if (!g->paused)
		return fail_set(why, FAIL_USAGE, "quit: not paused");
	vm_end(g->server->vm, RUN_SHUTDOWN, 0, CAUSE_HOST_QMP_QUIT);
	return 0;
}

static int verb_resume(struct lease_session *g, struct session_call *call, struct fail *why)
{
	(void)call;
	if (!g->paused)
		return fail_set(why, FAIL_USAGE, "resume: not paused");
	return verb_unpause(g, why);
}

static int verb_state(struct lease_session *g, struct session_call *call, struct fail *why)
{
	uint64_t begin = io_now_ns();
	uint8_t *fdt;
	size_t   len;
	int      rc;

	if (!g->paused)
		return fail_set(why, FAIL_USAGE, "state: not paused");
	if (vm_memory_check(g->server->vm, why) || blk_sampled(g->server->vm, why) ||
	    vm_save(g->server->vm, &fdt, &len, why))
		return -1;
	rc = verb_give_tree(call, fdt, len, why);
	free(fdt);
	g->state_given = rc == 0;
	pause_took(g->server, g->hold_ns + io_now_ns() - begin);
	return rc;
}

/* The pause stays, so that the snapshot can be published before the VM continues (or ends). */
static int verb_finish(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct vm *vm = g->server->vm;

	if (call->in->a[0] > 1)
		return fail_set(why, FAIL_USAGE,
				"finish: invalid value (valid: 0 = done, 1 = aborted)");
	/* What was read up to now is what the guest has written. */
	if (call->in->a[0] == 0 && vm_memory_check(vm, why))
		return -1;
	if (g->throttled)
		vm->accel->ops->throttle(vm->accel, 0);
	g->throttled = false;
	session_log_stop(g);
	g->finished = call->in->a[0] == 0;
	if (g->finished)
		return 0;
	if (g->epoch)
		dirty_epoch_abandon(&vm->dirty);
	g->epoch = false;
	int rc = g->paused ? verb_unpause(g, why) : 0;

	if (g->moving)
		lease_handover_unmove(g->server);
	g->moving = false;
	return rc;
}

static int verb_commit(struct lease_session *g, struct session_call *call, struct fail *why)
{
	if (!g->finished || !g->epoch)
		return fail_set(why, FAIL_USAGE, "commit: no finished save in this lease");
	if (dirty_epoch_commit(&g->server->vm->dirty, &call->in->uuid, why))
		return -1;
	g->epoch = false;
	return 0;
}

static int verb_moving(struct lease_session *g, struct session_call *call, struct fail *why)
{
	if (lease_handover_moving(g->server, &call->in->uuid, call->in->text, why))
		return -1;
	g->moving = true;
	return 0;
}

static int verb_release(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct vm *vm = g->server->vm;

	if (!g->paused && !runstate_held_by(vm, HOLD_RELEASED))
		return fail_set(why, FAIL_USAGE, "release: not paused");
	if (!runstate_held_by(vm, HOLD_RELEASED) && vm_memory_check(vm, why))
		return -1;
	/* The target must not read what is only in this host's page cache. */
	if (!runstate_held_by(vm, HOLD_RELEASED) && blk_synced(vm, why))
		return -1;
	if (lease_handover_release(g->server, &call->in->uuid, why))
		return -1;
	g->moving = false;
	/* From here on the VM is paused by `released`: losing the lease changes nothing. */
	session_log_stop(g);
	if (g->epoch)
		dirty_epoch_abandon(&vm->dirty);
	g->epoch = false;
	return g->paused ? verb_unpause(g, why) : 0;
}

static int verb_retaking(struct lease_session *g, struct session_call *call, struct fail *why)
{
	if (call->in->a[0] > 1)
		return fail_set(why, FAIL_USAGE, "retaking: invalid value (valid: 0, 1)");
	if (lease_handover_retaking(g->server, &call->in->uuid, call->in->a[0] == 1, why))
		return -1;
	g->moving = call->in->a[0] == 1;
	return 0;
}

static int verb_retake(struct lease_session *g, struct session_call *call, struct fail *why)
{
	if (call->in->a[0] > 1)
		return fail_set(why, FAIL_USAGE, "retake: invalid value (valid: 0, 1)");
	return lease_handover_retake(g->server, &call->in->uuid, call->in->a[0] == 1, why);
}

static int verb_done(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return lease_handover_done(g->server, &call->in->uuid, call->in->a[0], why);
}

/* The VM's lock, which our starter has had since before it started us. */
static int verb_claim(struct lease_session *g, struct session_call *call, struct fail *why)
{
	int fd = fcntl(call->in_fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return fail_sys(why, "claim: file descriptor");
	if (records_claim(g->server, fd, why)) {
		close(fd);
		return -1;
	}
	return 0;
}

static void written_run(void *arg, uint64_t first, uint64_t count)
{
	region_mark(arg, first, count);
}

/* The holder has written RAM through its descriptor: these pages count as written now. */
static int verb_written(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct vm *vm = g->server->vm;

	(void)call;
	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		struct region *r = &vm->memory.regions[i];

		if (region_present(&vm->memory, r, written_run, r, why))
			return -1;
	}
	g->server->written = true;
	return 0;
}

static int verb_load(struct lease_session *g, struct session_call *call, struct fail *why)
{
	struct control_server *s   = g->server;
	uint64_t               len = call->in->a[0];
	uint8_t               *fdt;
	int                    rc = -1;

	if (s->loaded || s->spoilt)
		return fail_set(why, FAIL_USAGE, "load: state already loaded");
	if (len == 0 || len > LIMIT_TREE_BYTES)
		return fail_set(why, FAIL_LIMIT, "load: invalid VM tree size: %llu bytes",
				(unsigned long long)len);
	fdt = malloc((size_t)len);
	if (!fdt) {
		errno = ENOMEM;
		return fail_sys(why, "VM tree");
	}
	if (io_pread(call->in_fd, fdt, (size_t)len, 0, "VM tree", why) == 0) {
		rc = vm_load(s->vm, fdt, (size_t)len, why);
		s->loaded = rc == 0;
		s->spoilt = rc != 0;     /* part of it may be in place */
	}
	free(fdt);
	return rc;
}

static int verb_ready(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return lease_handover_ready(g->server, &call->in->uuid, call->in->text, call->in->a[0],
				    why);
}

static int verb_start(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return lease_handover_start(g->server, &call->in->uuid, why);
}

static int verb_abort(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return lease_handover_abort(g->server, &call->in->uuid, why);
}

#define READ     (1u << LEASE_KIND_READ)
#define LOG      (1u << LEASE_KIND_LOG)
#define INCOMING (1u << LEASE_KIND_INCOMING)
#define READ_LOG (READ | LOG)
#define ALL      (READ | LOG | INCOMING)

#define PAUSED   PHASE_LEASED
#define OURS     (PHASE_FREE | PAUSED)
#define GIVEN    PHASE_RELEASED
#define GIVING   (PAUSED | GIVEN)
#define LIVE     (OURS | GIVEN)
#define EMPTY    PHASE_INCOMING
#define FILLED   (PHASE_INCOMING | PHASE_UNRESOLVED)
#define ANY      PHASE_ANY

/* What must be true of the disks before a verb runs. */
enum session_disks { NONE, QUIET, FLUSHED, SAMPLED };

/* docs/control.md 6. */
static const struct session_verb {
	const char *name;
	int       (*run)(struct lease_session *g, struct session_call *call, struct fail *why);
	unsigned    kinds;       /* of lease */
	unsigned    phases;      /* of the VM */
	enum session_disks disks;
	bool        fd;          /* a descriptor must come */
} session_verbs[LEASE_VERBS] = {
	[LEASE_REGIONS]   = { "regions",   verb_regions,      ALL,      ANY,    NONE,    false },
	[LEASE_CONFIG]    = { "config",    verb_config,       ALL,      ANY,    NONE,    false },
	[LEASE_LOG_START] = { "log-start", session_log_start, LOG,      OURS,   NONE,    false },
	[LEASE_SYNC]      = { "sync",      verb_sync,         LOG,      OURS,   NONE,    false },
	[LEASE_CLEAR]     = { "clear",     verb_clear,        LOG,      OURS,   NONE,    false },
	[LEASE_THROTTLE]  = { "throttle",  verb_throttle,     LOG,      OURS,   NONE,    false },
	[LEASE_FLUSH]     = { "flush",     verb_flush,        LOG,      OURS,   SAMPLED, false },
	[LEASE_PAUSE]     = { "pause",     verb_pause,        LOG,      OURS,   QUIET,   false },
	[LEASE_RESUME]    = { "resume",    verb_resume,       LOG,      PAUSED, NONE,    false },
	[LEASE_STATE]     = { "state",     verb_state,        LOG,      PAUSED, SAMPLED, false },
	[LEASE_FILL]      = { "fill",      verb_fill,         READ_LOG, LIVE,   NONE,    false },
	[LEASE_FINISH]    = { "finish",    verb_finish,       LOG,      OURS,   NONE,    false },
	[LEASE_COMMIT]    = { "commit",    verb_commit,       LOG,      OURS,   NONE,    false },
	[LEASE_RELEASE]   = { "release",   verb_release,      LOG,      GIVING, FLUSHED, false },
	[LEASE_RETAKE]    = { "retake",    verb_retake,       LOG,      GIVEN,  NONE,    false },
	[LEASE_DONE]      = { "done",      verb_done,         LOG,      GIVEN,  NONE,    false },
	[LEASE_CLAIM]     = { "claim",     verb_claim,        INCOMING, EMPTY,  NONE,    true },
	[LEASE_MOVING]    = { "moving",    verb_moving,       LOG,      OURS,   NONE,    false },
	[LEASE_RETAKING]  = { "retaking",  verb_retaking,     LOG,      GIVEN,  NONE,    false },
	[LEASE_WRITTEN]   = { "written",   verb_written,      INCOMING, EMPTY,  NONE,    false },
	[LEASE_LOAD]      = { "load",      verb_load,         INCOMING, EMPTY,  NONE,    true },
	[LEASE_READY]     = { "ready",     verb_ready,        INCOMING, FILLED, NONE,    false },
	[LEASE_QUIT]      = { "quit",      verb_quit,         LOG,      PAUSED, NONE,    false },
	[LEASE_RENEW]     = { "renew",     verb_renew,        LOG,      PAUSED, NONE,    false },
	[LEASE_IMAGE]     = { "image",     session_image,     READ_LOG, LIVE,   NONE,    false },
	[LEASE_IMAGE_PUT] = { "image-put", session_image_put, INCOMING, EMPTY,  NONE,    true },
	[LEASE_START]     = { "start",     verb_start,        INCOMING, ANY,    NONE,    false },
	[LEASE_ABORT]     = { "abort",     verb_abort,        INCOMING, ANY,    NONE,    false },
};

/* The verb's row; NULL with *why when it may not be asked for, or not now. */
static const struct session_verb *session_verb(const struct lease_session *g,
					       const struct session_call *call, struct fail *why)
{
	uint32_t                   verb = call->in->verb;
	const struct session_verb *v    = verb < LEASE_VERBS ? &session_verbs[verb] : NULL;

	if (!v || !v->run)
		fail_set(why, FAIL_VERSION, "unsupported verb %u", verb);
	else if (!(v->kinds & 1u << g->kind))
		fail_set(why, FAIL_USAGE, "%s: not valid for this kind of lease", v->name);
	else if (v->fd != (call->in_fd >= 0))
		fail_set(why, FAIL_USAGE, "%s: %s", v->name,
			 v->fd ? "missing file descriptor" : "unexpected file descriptor");
	else if (!(v->phases & command_phase(g->server)))
		command_refuse(g->server, v->name, why);
	else
		return v;
	return NULL;
}

bool session_begin(struct lease_session *g, struct session_call *call, enum blk_wait *what)
{
	struct vm                 *vm = g->server->vm;
	struct fail                why;
	const struct session_verb *v  = session_verb(g, call, &why);

	/* A released VM's disks belong to another host. */
	if (!v || v->disks == NONE || runstate_held_by(vm, HOLD_RELEASED) ||
	    (v->disks == QUIET && g->paused))
		return false;
	*what = v->disks == QUIET ? BLK_WAIT_QUIET : BLK_WAIT_SYNCED;
	if (v->disks == QUIET)
		blk_hold(vm, true);
	else
		blk_sync_start(vm, v->disks == SAMPLED);
	g->samples = g->samples || v->disks == SAMPLED;
	return true;
}

int session_execute(struct lease_session *g, struct session_call *call, struct fail *why)
{
	const struct session_verb *v = session_verb(g, call, why);

	return v ? v->run(g, call, why) : -1;
}
