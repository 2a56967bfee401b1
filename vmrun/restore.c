/* SPDX-License-Identifier: MIT */
#include "vmrun/setup.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/io.h"
#include "libcommon/page_apply.h"
#include "libcommon/page_sink.h"
#include "libcommon/thread.h"
#include "vmrun/boot/image_pieces.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/note.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct restore {
	struct vm       *vm;
	struct page_sink sinks[LIMIT_REGIONS];      /* one a region of vm->memory */
	struct page_apply *apply;                   /* writes to them */
	/* Kernel and initrd, as far as they were read. */
	struct image_pieces images;
};

/* By the thread of r->apply. */
static int restore_batch(void *arg, const struct page_batch *b, struct fail *why)
{
	struct restore *r = arg;

	for (unsigned i = 0; i < r->vm->memory.nregions; i++)
		if (r->vm->memory.regions[i].cfg.id == b->region)
			return page_sink_batch(&r->sinks[i], b, why);
	return fail_set(why, FAIL_CORRUPT, "pages of region %" PRIu32 ", not in the configuration",
			b->region);
}

static int restore_open(struct restore *r, struct vm *vm, const struct options *o, struct fail *why)
{
	r->vm     = vm;
	r->images = (struct image_pieces){ .vm    = vm,
					   .given = { o->kernel != NULL, o->initrd != NULL } };
	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		const struct region *g = &vm->memory.regions[i];

		if (page_sink_open(&r->sinks[i], g->fd, g->npages, g->cfg.name, why))
			return -1;
	}
	return page_apply_open(&r->apply, SNAP_STREAM_BATCHES - 1, restore_batch, r, why);
}

static void restore_close(struct restore *r)
{
	page_apply_close(r->apply);      /* before what it writes to */
	for (unsigned i = 0; i < LIMIT_REGIONS; i++)
		page_sink_close(&r->sinks[i]);
	image_pieces_close(&r->images);
}

/* Reads and verifies everything up to END, into the memory of a VM that does not run yet. The chunk
 * after the configuration has been read already. */
static int restore_pages(struct vm *vm, struct snap_stream *s, const struct options *o,
			 struct fail *why)
{
	struct restore r = { 0 };
	struct chunk   c;
	const uint8_t *payload;
	uint64_t       at;
	int            rc = restore_open(&r, vm, o, why), more = 1;

	while (rc == 0 && more) {
		const struct page_batch  *b     = snap_stream_batch(s);
		const struct image_piece *piece = snap_stream_piece(s);

		if (b)
			rc = page_apply_submit(r.apply, b, why);
		if (piece)
			rc = image_pieces_take(&r.images, piece, why);
		if (rc == 0)
			more = snap_stream_next(s, &c, &payload, &at, why);
		if (more < 0)
			rc = -1;
	}
	if (rc == 0)
		rc = page_apply_finish(r.apply, why);
	restore_close(&r);
	return rc;
}

/* The key that authenticates snapshots of this host. Without it none is authentic. */
static void restore_key(struct snap_stream *s, struct fail *why)
{
	struct hostkey k;

	if (hostkey_open(&k, false, why))
		return;
	snap_stream_key(s, &k);
	hostkey_clear(&k);
}

/* May recorded paths be used, and if not, why. */
static struct trust restore_trust(const struct snap_stream *s, const struct fail *no_key)
{
	struct trust t = { 0 };

	if (no_key->kind != FAIL_NONE && no_key->sys != ENOENT) {
		fail_text(no_key, t.why, sizeof(t.why));
		return t;
	}
	switch (snap_stream_auth_config(s)) {
	case SNAP_AUTH_OK:
		t.recorded = true;
		break;
	case SNAP_AUTH_ALTERED:
		snprintf(t.why, sizeof(t.why),
				"snapshot modified after it was written by this host");
		break;
	case SNAP_AUTH_OTHER:
	case SNAP_AUTH_NONE:
		snprintf(t.why, sizeof(t.why), "snapshot not written by this user on this host");
		break;
	}
	return t;
}

/* Reads the configuration and the chunk that authenticates it; the header has been read. recorded:
 * out, what m was before the options. */
static int restore_config(struct snap_stream *s, const struct options *o, struct machine *m,
			  struct machine *recorded, struct fail *why)
{
	const struct snap_header *h      = snap_stream_header(s);
	struct fail               no_key = { 0 };
	struct chunk              c;
	const uint8_t            *payload, *fdt;
	uint64_t                  at;
	size_t                    len;
	int                       more;

	restore_key(s, &no_key);
	snap_stream_batches(s, SNAP_STREAM_BATCHES);
	if (h->required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_REFUSED,
				"%s: snapshot without memory (saved with --state-only)", o->source);
	while (!(fdt = snap_stream_config(s, &len))) {
		more = snap_stream_next(s, &c, &payload, &at, why);
		if (more < 0)
			return -1;
		if (more == 0)
			return fail_set(why, FAIL_CORRUPT, "%s: missing config chunk", o->source);
	}
	if (machine_read(m, fdt, len, why))
		return fail_prefix(why, "%s: ", o->source);
	if (snap_stream_next(s, &c, &payload, &at, why) < 0)
		return -1;
	*recorded = *m;

	const struct trust trust = restore_trust(s, &no_key);

	return setup_overrides(m, o, &trust, why);
}

/* Recorded paths were used because the configuration is authentic: the rest must be, too. */
static int restore_own(const struct snap_stream *s, const struct options *o, struct fail *why)
{
	if (o->trust_paths || snap_stream_auth_config(s) != SNAP_AUTH_OK ||
	    snap_stream_auth_all(s) == SNAP_AUTH_OK)
		return 0;
	return fail_set(why, FAIL_REFUSED,
		"%s: modified after it was written by this host; use --trust-paths to ignore",
		o->source);
}

/* The guest waits for a reset: --cont does it, if it can be done. */
static void restore_pending(struct vm *vm, const struct options *o)
{
	struct fail why = { 0 };
	char        text[600];

	if (o->cont && vm_reset_pending(vm, &why) == 0) {
		vm->run.holders &= ~(unsigned)HOLD_USER;
		return;
	}
	if (!o->cont)
		fail_set(&why, FAIL_REFUSED, "guest reset pending");
	note("%s: restored paused: %s: use 'vmrun ctl %s cont' to reset and run it", vm->cfg.name,
	     fail_text(&why, text, sizeof(text)), vm->cfg.name);
}

/* A VM that its user had stopped stays paused, as in a move. */
static void restore_stopped(struct vm *vm, const struct options *o)
{
	if (vm->reset_pending) {
		restore_pending(vm, o);
		return;
	}
	if (!vm->recorded->stopped || o->cont || o->paused)
		return;
	vm->run.holders |= HOLD_USER;
	note("%s: restored paused, as it was saved: use 'vmrun ctl %s cont', or --cont",
	     vm->cfg.name, vm->cfg.name);
}

/* Reading a snapshot has a thread of its own, so that the control socket is served while a pipe
 * stalls. */
struct restoring {
	struct vm            *vm;
	const struct options *o;
	struct snap_stream   *stream;
	/* The source; eventfds: cancels the thread, signals that it has ended. */
	int                   fd, cancel, done;
	struct loop_watch    *watch;
	pthread_t             thread;
	bool                  running;               /* the thread is to be joined */
	int                   rc;                    /* once it has ended */
	struct fail           why;
};

static void restoring_free(struct restoring *r)
{
	if (r->watch)
		loop_remove(r->vm->loop, r->watch);
	snap_stream_close(r->stream);
	io_close(&r->fd);
	io_close(&r->cancel);
	io_close(&r->done);
	free(r);
}

static int restoring_load(struct restoring *r, struct fail *why)
{
	struct vm     *vm = r->vm;
	const uint8_t *fdt;
	size_t         len;
	int            rc;

	if (setup_images_given(vm, r->o, why) || restore_pages(vm, r->stream, r->o, why) ||
	    restore_own(r->stream, r->o, why))
		return -1;
	fdt = snap_stream_state(r->stream, &len);
	if (!fdt)
		return fail_set(why, FAIL_CORRUPT, "%s: missing state chunk", r->o->source);
	pthread_mutex_lock(&vm->control_lock);
	rc = vm_load(vm, fdt, len, why);
	pthread_mutex_unlock(&vm->control_lock);
	/* Without control_lock, since it reads disks. Others may continue from the same snapshot:
	 * board_copied lets the guest know. */
	if (rc || vm_disks_check(vm, why) || board_copied(vm->board, why))
		return -1;
	pthread_mutex_lock(&vm->control_lock);
	restore_stopped(vm, r->o);
	pthread_mutex_unlock(&vm->control_lock);
	return 0;
}

static void *restoring_main(void *arg)
{
	struct restoring *r   = arg;
	uint64_t          one = 1;

	r->rc = restoring_load(r, &r->why);
	if (write(r->done, &one, sizeof(one)) < 0)
		abort();     /* a new counter takes one */
	return NULL;
}

/* Main loop: the thread has ended. */
static void restoring_done(void *arg, uint32_t events)
{
	struct restoring *r  = arg;
	struct vm        *vm = r->vm;

	(void)events;
	pthread_join(r->thread, NULL);
	r->running = false;
	pthread_mutex_lock(&vm->control_lock);
	if (!vm->run.ended) {
		if (r->rc == 0 && (runstate_drop(vm, HOLD_RESTORE, &r->why) ||
				   vm_start(vm, &r->why)))
			r->rc = -1;
		if (r->rc) {
			vm->end_why = r->why;
			vm_end(vm, RUN_INTERNAL_ERROR, fail_status(r->why.kind), CAUSE_HOST_ERROR);
		} else {
			images_tell(vm);
		}
	}
	pthread_mutex_unlock(&vm->control_lock);
	vm->restoring = NULL;
	restoring_free(r);
}

static int restoring_start(struct restoring *r, struct fail *why)
{
	r->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->done   = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->cancel < 0 || r->done < 0)
		return fail_sys(why, "eventfd");
	snap_stream_cancel(r->stream, r->cancel);
	r->watch = loop_add(r->vm->loop, r->done, EPOLLIN, restoring_done, r, why);
	if (!r->watch)
		return -1;
	r->running = thread_start(&r->thread, restoring_main, r, "restore", why) == 0;
	return r->running ? 0 : -1;
}

void vm_restore_end(struct vm *vm)
{
	struct restoring *r   = vm ? vm->restoring : NULL;
	uint64_t          one = 1;

	if (!r)
		return;
	if (r->running && write(r->cancel, &one, sizeof(one)) < 0)
		abort();     /* a new counter takes one */
	if (r->running)
		pthread_join(r->thread, NULL);
	vm->restoring = NULL;
	restoring_free(r);
}

int vm_restore(struct vm **out, const struct options *o, struct loop *loop, struct fail *why)
{
	struct machine   *m = malloc(sizeof(*m)), *recorded = malloc(sizeof(*recorded));
	struct restoring *r = calloc(1, sizeof(*r));
	bool              file = strcmp(o->source, "-") != 0;
	uint8_t           header[SNAP_HEADER_BYTES];
	int               rc = -1;

	if (!m || !recorded || !r) {
		errno = ENOMEM;
		fail_sys(why, "machine");
		free(r);
		free(recorded);
		free(m);
		return -1;
	}
	*r = (struct restoring){ .o = o, .cancel = -1, .done = -1 };
	/* Up to here a signal ends us at once, and nothing is left behind. */
	r->fd = setup_source(o->source, why);
	if (r->fd < 0 || snap_header_load(r->fd, o->source, file, "vmrun --restore -", header,
					  why) ||
	    snap_stream_open_at(&r->stream, r->fd, header, o->source, why) ||
	    restore_config(r->stream, o, m, recorded, why) ||
	    setup_apart(m, r->fd, "the snapshot", why))
		goto out;
	vm_signals_block();
	rc = setup_vm(out, m, o, loop, why);
	if (*out) {
		/* The state that is loaded later must go with it. */
		(*out)->recorded  = recorded;
		recorded          = NULL;
		r->vm             = *out;
		(*out)->restoring = r;
		rc                = rc ? rc : restoring_start(r, why);
		r                 = NULL;
	}
out:
	if (r)
		restoring_free(r);
	free(recorded);
	free(m);
	return rc;
}
