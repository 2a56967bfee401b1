/* SPDX-License-Identifier: MIT */
#include "vmrun/restore.h"

#include "libcommon/io.h"
#include "libcommon/thread.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/memory_file.h"
#include "vmrun/note.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct image_pieces restore_images(const struct restoring *r)
{
	return (struct image_pieces){ .vm    = r->vm,
				      .given = { r->o->kernel != NULL, r->o->initrd != NULL } };
}

/* May recorded paths be used, and if not, why. */
static struct trust restore_trust(enum snap_auth auth, const struct fail *no_key)
{
	struct trust t = { 0 };

	if (no_key->kind != FAIL_NONE && no_key->sys != ENOENT) {
		fail_text(no_key, t.why, sizeof(t.why));
		return t;
	}
	switch (auth) {
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

int restore_machine(const struct restoring *r, const uint8_t *fdt, size_t len, enum snap_auth auth,
		    const struct fail *no_key, struct machine *m, struct machine *recorded,
		    struct fail *why)
{
	const struct trust trust = restore_trust(auth, no_key);

	if (machine_read(m, fdt, len, why))
		return fail_prefix(why, "%s: ", r->o->source);
	*recorded = *m;
	return setup_overrides(m, r->o, &trust, why);
}

int restore_own(const struct options *o, enum snap_auth config, enum snap_auth all,
		struct fail *why)
{
	if (o->trust_paths || config != SNAP_AUTH_OK || all == SNAP_AUTH_OK)
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

static void restoring_free(struct restoring *r)
{
	if (r->watch)
		loop_remove(r->vm->loop, r->watch);
	r->ops->close(r);
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

	if (setup_images_given(vm, r->o, why) || r->ops->load(r, why))
		return -1;
	fdt = r->ops->state(r, &len);
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
	struct vm_backing backing = { .file = NULL };
	int               rc = -1;

	if (!m || !recorded || !r) {
		errno = ENOMEM;
		fail_sys(why, "machine");
		free(r);
		free(recorded);
		free(m);
		return -1;
	}
	*r = (struct restoring){ .o = o, .ops = o->memory_cow ? &restore_cow : &restore_copy,
				 .fd = -1, .cancel = -1, .done = -1 };
	/* Up to here a signal ends us at once, and nothing is left behind. */
	if (r->ops->open(r, m, recorded, &backing, why) ||
	    setup_apart(m, backing.file ? backing.file->fd : r->fd, "the snapshot", why))
		goto out;
	vm_signals_block();
	rc = setup_vm(out, m, o, loop, &backing, why);
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
	memory_file_close(backing.file);      /* unless the VM has it */
	free(recorded);
	free(m);
	return rc;
}
