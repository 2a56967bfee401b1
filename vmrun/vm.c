/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Signals that end the VM: read from the signalfd of vm_run, by no other thread. */
static void vm_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

static void vm_event_ready(void *arg, uint32_t events)
{
	struct vm *vm = arg;
	uint64_t   n;

	(void)events;
	if (read(vm->event_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&vm->control_lock);
	vm_process_events(vm);
	pthread_mutex_unlock(&vm->control_lock);
}

static void vm_device_event(void *arg, enum vm_event e)
{
	vm_event(arg, e);
}

static void vm_device_panic(void *arg, const char *text)
{
	vm_panic(arg, text);
}

static int vm_open_memory(struct vm *vm, struct vm_backing *backing, struct fail *why)
{
	struct memory_file *file = backing ? backing->file : NULL;

	if (file)
		backing->file = NULL;
	if (memory_open_file(&vm->memory, &vm->cfg, file, file ? backing->offsets : NULL, why))
		return -1;
	vm_memory_watch(vm);
	return 0;
}

static int vm_open_devices(struct vm *vm, const struct accel_ops *accel, bool incoming,
			   struct vm_backing *backing, struct fail *why)
{
	sigset_t block, before;
	int      rc = -1;

	/* Threads inherit the mask: so these signals reach the main thread alone. */
	vm_signals(&block);
	pthread_sigmask(SIG_BLOCK, &block, &before);
	/* The board's check comes first: an accelerator that is asked for what no board has fails
	 * as the host's error, not as the file's. */
	if (board_check(&vm->cfg, why) || vm_open_memory(vm, backing, why))
		goto out;
	if (accel->open(&vm->accel, vm, why))
		goto out;
	vm->dirty.memory = &vm->memory;
	vm->dirty.accel  = vm->accel;
	vm->device_host  = (struct device_host){
		.cfg            = &vm->cfg,
		.memory         = &vm->memory,
		.clock          = &vm->clock,
		.loop           = vm->loop,
		.accel          = vm->accel,
		.lock           = &vm->machine_lock,
		.disks_deferred = incoming,
		.event          = vm_device_event,
		.panic          = vm_device_panic,
		.arg            = vm,
	};
	rc = board_open(&vm->board, &vm->device_host, why);
out:
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static int vm_open_as(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
		      const struct accel_want *want, struct loop *loop, bool incoming,
		      struct vm_backing *backing, struct fail *why)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		errno = ENOMEM;
		return fail_sys(why, "VM");
	}
	vm->cfg            = *cfg;
	vm->want           = *want;
	vm->loop           = loop;
	vm->run.holders    = incoming ? HOLD_INCOMING : 0;
	pthread_mutex_init(&vm->control_lock, NULL);
	pthread_mutex_init(&vm->machine_lock, NULL);
	clock_open(&vm->clock);

	vm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->event_fd < 0) {
		fail_sys(why, "eventfd");
		goto fail;
	}
	vm->event_watch = loop_add(loop, vm->event_fd, EPOLLIN, vm_event_ready, vm, why);
	if (!vm->event_watch || vm_open_devices(vm, accel, incoming, backing, why))
		goto fail;
	*out = vm;
	return 0;
fail:
	vm_close(vm);
	return -1;
}

int vm_open(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
	    const struct accel_want *want, struct loop *loop, struct fail *why)
{
	return vm_open_as(out, cfg, accel, want, loop, false, NULL, why);
}

int vm_open_backed(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
		   const struct accel_want *want, struct loop *loop, struct vm_backing *backing,
		   struct fail *why)
{
	return vm_open_as(out, cfg, accel, want, loop, false, backing, why);
}

int vm_open_incoming(struct vm **out, const struct machine *cfg, const struct accel_ops *accel,
		     const struct accel_want *want, struct loop *loop, struct fail *why)
{
	return vm_open_as(out, cfg, accel, want, loop, true, NULL, why);
}

void vm_close(struct vm *vm)
{
	struct fail why;

	if (!vm)
		return;
	if (vm->accel && vm->board)
		runstate_end(vm, &why);
	if (vm->run.stuck)
		return;
	/* The board first: its threads raise interrupts of the accelerator; paused vCPUs touch no
	 * device. */
	board_close(vm->board);
	vm->board = NULL;
	dirty_epoch_close(&vm->dirty);     /* switches the accelerator's log off */
	if (vm->accel)
		vm->accel->ops->close(vm->accel);
	memory_close(&vm->memory);
	free(vm->images.kernel);
	free(vm->images.initrd);
	loop_remove(vm->loop, vm->event_watch);
	if (vm->event_fd >= 0)
		close(vm->event_fd);
	pthread_mutex_destroy(&vm->machine_lock);
	pthread_mutex_destroy(&vm->control_lock);
	free(vm->recorded);
	free(vm);
}

int vm_start(struct vm *vm, struct fail *why)
{
	bool was_running = vm->run.cpus_running;

	vm->run.started = true;
	if (runstate_apply(vm, why))
		return -1;
	if (!was_running && vm->run.cpus_running)
		vm_send_event(vm, "RESUME", NULL);
	return 0;
}

void vm_end(struct vm *vm, enum run_status as, int exit_status, enum shutdown_cause cause)
{
	struct fail why   = { 0 };
	bool        guest = cause == CAUSE_GUEST_SHUTDOWN || cause == CAUSE_GUEST_RESET ||
			    cause == CAUSE_GUEST_PANIC;

	if (vm->run.ended)
		return;
	vm->run.ended       = true;
	vm->run.ended_as    = as;
	vm->run.exit_status = exit_status;
	if (runstate_end(vm, &why) && vm->end_why.kind == FAIL_NONE)
		vm->end_why = why;
	vm_send_event(vm, "SHUTDOWN", json_pack("{s:b,s:s}", "guest", (int)guest, "reason",
						shutdown_cause_names[cause]));
	loop_stop(vm->loop);
}

struct vm_signal_watch {
	struct vm *vm;
	int        fd;
};

static void vm_signal_ready(void *arg, uint32_t events)
{
	struct vm_signal_watch *w = arg;
	struct signalfd_siginfo s;

	(void)events;
	if (read(w->fd, &s, sizeof(s)) != (ssize_t)sizeof(s))
		return;
	w->vm->host_signal = (int)s.ssi_signo;
	vm_event(w->vm, VM_EVENT_HOST_SIGNAL);
}

void vm_signals_block(void)
{
	sigset_t set;

	vm_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* The signals stay blocked: closing down is short, and a second one must not cut it. */
int vm_run(struct vm *vm, struct fail *why)
{
	struct vm_signal_watch w     = { .vm = vm, .fd = -1 };
	struct loop_watch     *watch = NULL;
	sigset_t               set;
	int                    rc = -1;

	vm_signals_block();
	vm_signals(&set);
	w.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w.fd < 0) {
		fail_sys(why, "signalfd");
		goto out;
	}
	watch = loop_add(vm->loop, w.fd, EPOLLIN, vm_signal_ready, &w, why);
	if (!watch)
		goto out;

	pthread_mutex_lock(&vm->control_lock);
	bool ended = vm->run.ended;

	pthread_mutex_unlock(&vm->control_lock);
	if (!ended && loop_run(vm->loop, why))
		goto out;
	pthread_mutex_lock(&vm->control_lock);
	rc = vm->run.exit_status;
	pthread_mutex_unlock(&vm->control_lock);
out:
	loop_remove(vm->loop, watch);
	if (w.fd >= 0)
		close(w.fd);
	return rc;
}
