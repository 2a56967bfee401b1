/* SPDX-License-Identifier: MIT */
/* What a guest asks for: which wish wins when several are there. */
#include "tests/unit/tap.h"

#include "vmrun/memory_file.h"
#include "vmrun/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static unsigned resets;

void vm_end(struct vm *vm, enum run_status as, int exit_status, enum shutdown_cause cause)
{
	(void)cause;
	vm->run.ended       = true;
	vm->run.ended_as    = as;
	vm->run.exit_status = exit_status;
}

void vm_reset_asked(struct vm *vm)
{
	(void)vm;
	resets++;
}

void vm_disks_full(struct vm *vm)
{
	(void)vm;
}

static unsigned holds;

int runstate_hold(struct vm *vm, enum holder h, struct fail *why)
{
	(void)why;
	holds++;
	vm->run.holders |= h;
	return 0;
}

bool runstate_held_by(const struct vm *vm, enum holder h)
{
	return (vm->run.holders & h) != 0;
}

/* A VM whose memory was a file, which has been truncated. */
static void lost(void)
{
	static struct vm    vm;
	char                path[] = "/tmp/events_test.XXXXXX";
	struct fail         why;
	struct memory_file *f;
	int                 fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, 8192) || memory_file_open(&f, path, &why))
		abort();
	vm.memory.file = f;
	vm.event_fd    = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm_memory_watch(&vm);
	snprintf(vm.cfg.name, sizeof(vm.cfg.name), "web");
	resets = 0;
	vm_event(&vm, VM_EVENT_RESET);
	vm_process_events(&vm);
	ok(resets == 1 && !vm.run.holders && vm_memory_check(&vm, &why) == 0,
	   "while the file is whole, a guest may ask for a reset");
	if (ftruncate(fd, 4096))
		abort();
	vm_process_events(&vm);
	ok(!vm.run.holders && vm_memory_check(&vm, &why) == -1 && strstr(why.what, path) &&
	   strstr(why.what, "truncated") && !strstr(why.what, "lost"),
	   "truncated: saves are refused, the guest runs on as long as no page was missing");
	memory_lose(&vm.memory);
	memory_lose(&vm.memory);
	vm_event(&vm, VM_EVENT_SHUTDOWN);
	vm_process_events(&vm);
	ok(vm.run.holders == HOLD_MEMORY && holds == 1 && !vm.run.ended,
	   "once its memory is lost it is held, and does not end when the guest says so");
	ok(vm_memory_check(&vm, &why) == -1 && strstr(why.what, "guest memory lost"),
	   "and the reason is that");
	vm_event(&vm, VM_EVENT_DEAD);
	vm_event(&vm, VM_EVENT_RESET);
	vm_process_events(&vm);
	ok(!vm.run.ended && resets == 1 && holds == 1, "nor does it fail or reset after that");
	vm_event(&vm, VM_EVENT_QUIT);
	vm_process_events(&vm);
	ok(vm.run.ended && vm.run.exit_status == 0, "its user can end it");

	memset(&vm.run, 0, sizeof(vm.run));
	atomic_store(&vm.memory.lost, false);
	vm.memory_told = false;
	vm_event(&vm, VM_EVENT_DEAD);
	vm_process_events(&vm);
	ok(!vm.run.ended && vm.run.holders == HOLD_MEMORY,
	   "a vCPU that fails over a truncated file has lost its memory");
	close(vm.event_fd);
	memory_file_close(f);
	close(fd);
	unlink(path);
}

/* The exit status, -1 when the VM lives on. */
static int processed(struct vm *vm, bool pending, enum vm_event a, enum vm_event b)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	memset(vm, 0, sizeof(*vm));
	vm->event_fd      = fd;
	vm->reset_pending = pending;
	resets            = 0;
	vm_event(vm, a);
	vm_event(vm, b);
	vm_process_events(vm);
	close(fd);
	return vm->run.ended ? vm->run.exit_status : -1;
}

int main(void)
{
	static struct vm vm;

	ok(processed(&vm, false, VM_EVENT_RESET, VM_EVENT_RESET) == -1 && resets == 1,
	   "asked for twice it is one reset");
	ok(processed(&vm, false, VM_EVENT_DEAD, VM_EVENT_DEAD) == 18 && resets == 0,
	   "a vCPU that can't go on ends the VM");
	ok(processed(&vm, false, VM_EVENT_RESET, VM_EVENT_DEAD) == -1 && resets == 1,
	   "not one that asked for a reset before");
	ok(processed(&vm, true, VM_EVENT_DEAD, VM_EVENT_DEAD) == -1,
	   "nor one whose reset is pending");
	ok(processed(&vm, false, VM_EVENT_RESET, VM_EVENT_SHUTDOWN) == 0 && resets == 0,
	   "a power-off comes before a reset");
	ok(processed(&vm, false, VM_EVENT_RESET, VM_EVENT_PANIC) == 17 && resets == 0,
	   "and so does a panic");
	vm.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm_event(&vm, VM_EVENT_RESET);
	vm_event(&vm, VM_EVENT_DEAD);
	vm_event(&vm, VM_EVENT_QUIT);
	vm_events_void(&vm);
	ok(vm.events == 1u << VM_EVENT_QUIT, "a reset makes earlier ones void, and nothing else");
	close(vm.event_fd);
	lost();
	return done_testing();
}
