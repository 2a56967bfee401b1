/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "vmrun/control/control.h"

#include <unistd.h>

/* What the guest, a chip or a terminal asks for, from when it is said until it is done. */

void vm_event(struct vm *vm, enum vm_event e)
{
	uint64_t one = 1;

	atomic_fetch_or(&vm->events, 1u << e);
	if (write(vm->event_fd, &one, sizeof(one)) < 0)
		return;     /* the counter is full: it is readable, which is all that is wanted */
}

void vm_process_events(struct vm *vm)
{
	uint32_t e = atomic_exchange(&vm->events, 0);

	if (vm->run.ended)
		return;
	if (e & 1u << VM_EVENT_CRASH_LOADED)
		control_server_event(vm, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", "run"));
	if (e & 1u << VM_EVENT_NO_SPACE)
		vm_disks_full(vm);
	/* A guest whose reset does not come at once tries other ways, a triple fault at last: it gets its reset. */
	if (e & 1u << VM_EVENT_RESET || vm->reset_pending)
		e &= ~(1u << VM_EVENT_DEAD);
	if (e & 1u << VM_EVENT_DEAD) {
		fail_set(&vm->end_why, FAIL_SYSTEM, "VM terminated: %s",
				vm->panic_text[0] ? vm->panic_text : "vCPU failed");
		vm_end(vm, RUN_INTERNAL_ERROR, VM_EXIT_CPU_FAILED, "host-error");
	} else if (e & 1u << VM_EVENT_PANIC) {
		if (vm->panic_text[0])
			fail_set(&vm->end_why, FAIL_SYSTEM, "%s", vm->panic_text);
		control_server_event(vm, "GUEST_PANICKED", json_pack("{s:s}", "action", "poweroff"));
		vm_end(vm, RUN_GUEST_PANICKED, VM_EXIT_PANIC, "guest-panic");
	} else if (e & 1u << VM_EVENT_HIBERNATED) {
		control_server_event(vm, "SUSPEND_DISK", NULL);
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_HIBERNATED, "guest-shutdown");
	} else if (e & 1u << VM_EVENT_SHUTDOWN) {
		vm_end(vm, RUN_SHUTDOWN, 0, "guest-shutdown");
	} else if (e & 1u << VM_EVENT_HOST_SIGNAL) {
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_SIGNAL + vm->host_signal, "host-signal");
	} else if (e & 1u << VM_EVENT_QUIT) {
		vm_end(vm, RUN_SHUTDOWN, 0, "host-ui");
	} else if (e & 1u << VM_EVENT_RESET) {
		vm_reset_asked(vm);
	}
}

void vm_events_void(struct vm *vm)
{
	atomic_fetch_and(&vm->events, ~(1u << VM_EVENT_DEAD | 1u << VM_EVENT_RESET));
	vm->panic_text[0] = '\0';
}
