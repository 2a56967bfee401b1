/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "vmrun/control/control.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/note.h"

/* Resets. One that the guest has asked for and that can't be done, for want of a kernel or initrd, is not the VM's end: it
 * is pending, and the user holds the VM until it can be done. Nothing runs meanwhile; saves and moves take it along. */

/* What the guest was before the reset is no longer to be run. */
static void vm_reset_wait(struct vm *vm, const struct fail *reason)
{
	struct fail why = { .at = FAIL_NOWHERE };
	char        text[600];

	fail_text(reason, text, sizeof(text));
	vm->reset_pending = true;
	note("%s: guest reset pending, VM paused: %s; then use 'vmrun ctl %s cont'", vm->cfg.name,
			text, vm->cfg.name);
	control_server_event(vm, "VMFERRY_RESET_PENDING", json_pack("{s:s}", "reason", text));
	if (runstate_hold(vm, HOLD_USER, &why) && !vm->run.ended) {
		vm->end_why = why;
		vm_end(vm, RUN_INTERNAL_ERROR, 1, "host-error");
	}
}

static int vm_reset_as(struct vm *vm, bool guest, const char *cause, struct fail *why)
{
	bool was_running = vm->run.cpus_running;

	/* Before anything is touched: a VM whose kernel is not at hand runs on when it was not its own wish. */
	if (images_need(vm, why) || runstate_quiesce(vm, why))
		return -1;
	if (vm_boot(vm, why)) {
		vm_reset_wait(vm, why);
		if (was_running && !vm->run.ended)
			control_server_event(vm, "STOP", NULL);
		return -1;
	}
	vm->reset_pending = false;
	vm_events_void(vm);
	control_server_event(vm, "RESET", json_pack("{s:b,s:s}", "guest", (int)guest, "reason", cause));
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

/* The VM did not quiesce in time, as with a disk that does not answer: not its end either. Pausing waits, so this does not spin. */
static void vm_reset_later(struct vm *vm, const struct fail *reason)
{
	char text[600];

	if (vm->run.ended)
		return;
	note("%s: the guest's reset is delayed: %s; trying again", vm->cfg.name, fail_text(reason, text, sizeof(text)));
	vm_event(vm, VM_EVENT_RESET);
}

void vm_reset_asked(struct vm *vm)
{
	struct fail why = { .at = FAIL_NOWHERE };

	if (vm->cfg.on_reboot == REBOOT_EXIT) {
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_REBOOT, "guest-reset");
		return;
	}
	if (vm->reset_pending)
		return;
	if (images_need(vm, &why)) {
		vm_reset_wait(vm, &why);
		return;
	}
	/* Pause: reset, and wait for cont; a save made meanwhile is one of a machine that was just switched on. */
	if (vm->cfg.on_reboot == REBOOT_PAUSE ? runstate_hold(vm, HOLD_USER, &why) : runstate_quiesce(vm, &why)) {
		vm_reset_later(vm, &why);
		return;
	}
	if (vm_reset_as(vm, true, "guest-reset", &why) && !vm->reset_pending && !vm->run.ended) {
		vm->end_why = why;
		vm_end(vm, RUN_SHUTDOWN, VM_EXIT_REBOOT, "guest-reset");
	}
}
