/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "vmrun/boot/boot_images.h"
#include "vmrun/note.h"

#include <jansson.h>

/* Resets. One that the guest asked for and that cannot be done, because kernel or initrd are not
 * available, does not end the VM: it is pending, and HOLD_USER is set until it can be done. Nothing
 * runs in the meantime; saves and moves record it. */

/* The guest must not continue without the reset that it asked for. */
static void vm_reset_wait(struct vm *vm, const struct fail *reason)
{
	struct fail why = { 0 };
	char        text[600];

	fail_text(reason, text, sizeof(text));
	vm->reset_pending = true;
	note("%s: guest reset pending, VM paused: %s; then use 'vmrun ctl %s cont'", vm->cfg.name,
			text, vm->cfg.name);
	vm_send_event(vm, "VMFERRY_RESET_PENDING", json_pack("{s:s}", "reason", text));
	if (runstate_hold(vm, HOLD_USER, &why) && !vm->run.ended) {
		vm->end_why = why;
		vm_end(vm, RUN_INTERNAL_ERROR, 1, CAUSE_HOST_ERROR);
	}
}

static int vm_reset_as(struct vm *vm, bool guest, const char *cause, struct fail *why)
{
	bool was_running = vm->run.cpus_running;

	/* Before anything is touched: a VM whose kernel is not available continues when the reset
	 * was not its own request. */
	if (images_need(vm, why) || runstate_quiesce(vm, why))
		return -1;
	if (vm_boot(vm, why)) {
		vm_reset_wait(vm, why);
		if (was_running && !vm->run.ended)
			vm_send_event(vm, "STOP", NULL);
		return -1;
	}
	vm->reset_pending = false;
	vm_events_void(vm);
	vm_send_event(vm, "RESET", json_pack("{s:b,s:s}", "guest", (int)guest, "reason", cause));
	return runstate_apply(vm, why);
}

int vm_reset(struct vm *vm, struct fail *why)
{
	return vm_reset_as(vm, false, "host-qmp-system-reset", why);
}

int vm_reset_pending(struct vm *vm, struct fail *why)
{
	if (!vm->reset_pending || vm_reset_as(vm, true, "guest-reset", why) == 0)
		return 0;
	return fail_prefix(why, "guest reset pending: ");
}

/* The VM did not pause in time, for example because a disk does not answer: that does not end it
 * either. The event is posted again; pausing waits 10 s, so the retries do not spin. */
static void vm_reset_later(struct vm *vm, const struct fail *reason)
{
	char text[600];

	if (vm->run.ended)
		return;
	note("%s: the guest's reset is delayed: %s; trying again", vm->cfg.name,
	     fail_text(reason, text, sizeof(text)));
	vm_event(vm, VM_EVENT_RESET);
}

void vm_reset_asked(struct vm *vm)
{
	struct fail why = { 0 };

	if (vm->cfg.on_reboot == REBOOT_EXIT) {
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_REBOOT, CAUSE_GUEST_RESET);
		return;
	}
	if (vm->reset_pending)
		return;
	if (images_need(vm, &why)) {
		vm_reset_wait(vm, &why);
		return;
	}
	/* REBOOT_PAUSE resets now and waits for cont, so that a save in the meantime is one of a
	 * machine that was just switched on. */
	if (vm->cfg.on_reboot == REBOOT_PAUSE
	    ? runstate_hold(vm, HOLD_USER, &why) : runstate_quiesce(vm, &why)) {
		vm_reset_later(vm, &why);
		return;
	}
	if (vm_reset_as(vm, true, "guest-reset", &why) && !vm->reset_pending && !vm->run.ended) {
		vm->end_why = why;
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_REBOOT, CAUSE_GUEST_RESET);
	}
}
