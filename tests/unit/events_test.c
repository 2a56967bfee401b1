/* SPDX-License-Identifier: MIT */
/* What a guest asks for: which wish wins when several are there. */
#include "tests/unit/tap.h"

#include "vmrun/vm.h"

#include <stdio.h>
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
	return done_testing();
}
