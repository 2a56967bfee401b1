/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include <jansson.h>
#include <stdio.h>

#include <unistd.h>

/* Events from the guest, a device or a terminal: posted by any thread, carried out by the main
 * loop under control_lock. */

void vm_event(struct vm *vm, enum vm_event e)
{
	uint64_t one = 1;

	atomic_fetch_or(&vm->events, 1u << e);
	if (write(vm->event_fd, &one, sizeof(one)) < 0)
		return;     /* the counter is full, and so the eventfd readable: that is all */
}

void vm_panic(struct vm *vm, const char *text)
{
	if (!vm->panic_text[0])
		snprintf(vm->panic_text, sizeof(vm->panic_text), "%s", text);
	vm_event(vm, VM_EVENT_PANIC);
}

void vm_send_event(struct vm *vm, const char *name, struct json_t *data)
{
	if (vm->on_event)
		vm->on_event(vm, name, data);
	else
		json_decref(data);
}

void vm_process_events(struct vm *vm)
{
	uint32_t e = atomic_exchange(&vm->events, 0);

	if (vm->run.ended)
		return;
	/* Whatever else the guest asks for may be a consequence of the loss. */
	if (e & 1u << VM_EVENT_MEMORY || (e & VM_EVENTS_FAILED && memory_lost_now(&vm->memory)))
		vm_memory_stop(vm);
	if (memory_lost(&vm->memory))
		e &= VM_EVENTS_USER;
	if (e & 1u << VM_EVENT_CRASH_LOADED)
		vm_send_event(vm, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", "run"));
	if (e & 1u << VM_EVENT_NO_SPACE)
		vm_disks_full(vm);
	/* A guest whose reset does not come at once tries other ways, in the end a triple fault:
	 * that is a reset too, not a failure. */
	if (e & 1u << VM_EVENT_RESET || vm->reset_pending)
		e &= ~(1u << VM_EVENT_DEAD);
	if (e & 1u << VM_EVENT_DEAD) {
		fail_set(&vm->end_why, FAIL_SYSTEM, "VM terminated: %s",
				vm->panic_text[0] ? vm->panic_text : "vCPU failed");
		vm_end(vm, RUN_INTERNAL_ERROR, VM_EXIT_CPU_FAILED, CAUSE_HOST_ERROR);
	} else if (e & 1u << VM_EVENT_PANIC) {
		if (vm->panic_text[0])
			fail_set(&vm->end_why, FAIL_SYSTEM, "%s", vm->panic_text);
		vm_send_event(vm, "GUEST_PANICKED", json_pack("{s:s}", "action", "poweroff"));
		vm_end(vm, RUN_GUEST_PANICKED, VM_EXIT_PANIC, CAUSE_GUEST_PANIC);
	} else if (e & 1u << VM_EVENT_HIBERNATED) {
		vm_send_event(vm, "SUSPEND_DISK", NULL);
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_HIBERNATED, CAUSE_GUEST_SHUTDOWN);
	} else if (e & 1u << VM_EVENT_SHUTDOWN) {
		vm_end(vm, RUN_SHUTDOWN, 0, CAUSE_GUEST_SHUTDOWN);
	} else if (e & 1u << VM_EVENT_HOST_SIGNAL) {
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_SIGNAL + vm->host_signal, CAUSE_HOST_SIGNAL);
	} else if (e & 1u << VM_EVENT_QUIT) {
		vm_end(vm, RUN_SHUTDOWN, 0, CAUSE_HOST_UI);
	} else if (e & 1u << VM_EVENT_RESET) {
		vm_reset_asked(vm);
	}
}

void vm_events_void(struct vm *vm)
{
	atomic_fetch_and(&vm->events, ~(1u << VM_EVENT_DEAD | 1u << VM_EVENT_RESET));
	vm->panic_text[0] = '\0';
}
