/* SPDX-License-Identifier: MIT */
/* Resets: one that can't be done is pending, and held; it is never the VM's end. */
#include "tests/unit/core_fake.h"
#include "tests/unit/tap.h"

#include "vmrun/boot/boot_images.h"
#include "vmrun/note.h"

#include <stdio.h>
#include <string.h>

static unsigned notes;
static bool     missing, unbootable;

static void called(const char *call)
{
	size_t at = strlen(core_fake.calls);

	snprintf(core_fake.calls + at, sizeof(core_fake.calls) - at, "%s%s", at ? " " : "", call);
}

int images_need(struct vm *vm, struct fail *why)
{
	(void)vm;
	return missing ? fail_set(why, FAIL_REFUSED, "kernel: not available") : 0;
}

int vm_boot(struct vm *vm, struct fail *why)
{
	(void)vm;
	called("boot");
	return unbootable ? fail_set(why, FAIL_USAGE, "initrd: no room for it") : 0;
}

void vm_end(struct vm *vm, enum run_status as, int exit_status, enum shutdown_cause cause)
{
	vm->run.ended       = true;
	vm->run.ended_as    = as;
	vm->run.exit_status = exit_status;
	called(shutdown_cause_names[cause]);
}

void note(const char *fmt, ...)
{
	(void)fmt;
	notes++;
}

static unsigned again;

void vm_event(struct vm *vm, enum vm_event e)
{
	(void)vm;
	again += e == VM_EVENT_RESET;
}

static void start(struct vm *vm)
{
	struct fail why;

	core_fake_open(vm, 4);
	notes   = 0;
	missing = unbootable = false;
	vm->run.started = true;
	runstate_apply(vm, &why);
	core_fake.calls[0] = '\0';
}

static bool pending(const struct vm *vm)
{
	return vm->reset_pending && !vm->run.cpus_running && runstate_held_by(vm, HOLD_USER) &&
	       !vm->run.ended;
}

static void guest_resets(void)
{
	struct vm   vm;
	struct fail why;

	start(&vm);
	vm_reset_asked(&vm);
	ok(core_fake_called("pause board_pause boot RESET board_resume resume") &&
	   !vm.reset_pending && notes == 0,
	   "a reset whose images are available is done, and the VM runs on");
	missing = true;
	vm_reset_asked(&vm);
	ok(core_fake_called("VMFERRY_RESET_PENDING pause board_pause STOP") && pending(&vm) &&
	   notes == 1,
	   "without them it is pending, and the user holds the VM");
	vm_reset_asked(&vm);
	ok(core_fake_called("") && pending(&vm) && notes == 1,
	   "asked for again, that is said once");
	ok(vm_reset_pending(&vm, &why) == -1 && why.kind == FAIL_REFUSED &&
	   !strcmp(why.what, "guest reset pending: kernel: not available") &&
	   core_fake_called("") && pending(&vm),
	   "it is refused while they are missing");
	ok(vm_reset(&vm, &why) == -1 && core_fake_called("") && pending(&vm),
	   "as is one that the user asks for");
	missing = false;
	ok(vm_reset_pending(&vm, &why) == 0 && core_fake_called("boot RESET") &&
	   !vm.reset_pending && runstate_held_by(&vm, HOLD_USER),
	   "with them it is done; the VM is still held");
	ok(vm_reset_pending(&vm, &why) == 0 && core_fake_called(""), "and done once");
	core_fake_close(&vm);
}

static void user_resets(void)
{
	struct vm   vm;
	struct fail why;

	start(&vm);
	missing = true;
	ok(vm_reset(&vm, &why) == -1 && core_fake_called("") && vm.run.cpus_running &&
	   !vm.reset_pending && notes == 0,
	   "a user's reset without images is refused, and the VM runs on");
	missing    = false;
	unbootable = true;
	ok(vm_reset(&vm, &why) == -1 && strstr(why.what, "no room") &&
	   core_fake_called("pause board_pause boot VMFERRY_RESET_PENDING STOP") &&
	   pending(&vm) && notes == 1, "images that do not boot leave the reset pending");
	ok(vm_reset_pending(&vm, &why) == -1 && core_fake_called("boot VMFERRY_RESET_PENDING") &&
	   pending(&vm), "and again");
	unbootable = false;
	ok(vm_reset(&vm, &why) == 0 && core_fake_called("boot RESET") && !vm.reset_pending &&
	   runstate_held_by(&vm, HOLD_USER),
	   "one that is done by the user leaves nothing pending");
	core_fake_close(&vm);
}

/* Between the last look at what the guest wants and the pause. */
static void in_a_pause(void)
{
	struct vm   vm;
	struct fail why;

	start(&vm);
	missing           = true;
	core_fake.on_process = vm_reset_asked;
	ok(runstate_hold(&vm, HOLD_LEASE, &why) == 0 &&
	   core_fake_called("pause board_pause VMFERRY_RESET_PENDING STOP") && pending(&vm),
	   "asked for as a lease pauses the VM: pending, STOP is said once");
	ok(runstate_drop(&vm, HOLD_LEASE, &why) == 0 && core_fake_called("") && pending(&vm),
	   "and the end of the lease does not run it");
	core_fake_close(&vm);

	start(&vm);
	core_fake.on_process = vm_reset_asked;
	ok(runstate_hold(&vm, HOLD_LEASE, &why) == 0 &&
	   core_fake_called("pause board_pause boot RESET STOP") && !vm.reset_pending &&
	   runstate_drop(&vm, HOLD_LEASE, &why) == 0 && vm.run.cpus_running,
	   "with the images it is done inside the pause");
	core_fake_close(&vm);
}

/* A disk that does not answer for a while. */
static void busy(void)
{
	struct vm vm;

	start(&vm);
	core_fake.fail_board_pause = true;
	again                      = 0;
	vm_reset_asked(&vm);
	ok(again == 1 && notes == 1 && !vm.run.ended && !vm.reset_pending && vm.run.cpus_running,
	   "a reset that finds a disk busy is tried again, and is not the VM's end");
	core_fake.fail_board_pause = false;
	core_fake.calls[0]         = '\0';
	vm_reset_asked(&vm);
	ok(core_fake_called("pause board_pause boot RESET board_resume resume") && again == 1,
	   "and done once the disk answers");
	core_fake_close(&vm);
}

static void policies(void)
{
	struct vm vm;

	start(&vm);
	missing          = true;
	vm.cfg.on_reboot = REBOOT_EXIT;
	vm_reset_asked(&vm);
	ok(core_fake_called("guest-reset") && vm.run.exit_status == 16, "exit needs no images");
	core_fake_close(&vm);

	start(&vm);
	missing          = true;
	vm.cfg.on_reboot = REBOOT_PAUSE;
	vm_reset_asked(&vm);
	ok(core_fake_called("VMFERRY_RESET_PENDING pause board_pause STOP") && pending(&vm),
	   "pause: pending too");
	core_fake_close(&vm);

	start(&vm);
	vm.cfg.on_reboot = REBOOT_PAUSE;
	vm_reset_asked(&vm);
	ok(core_fake_called("pause board_pause STOP boot RESET") && !vm.reset_pending &&
	   runstate_held_by(&vm, HOLD_USER),
	   "pause: reset at once, and held");
	core_fake_close(&vm);
}

int main(void)
{
	guest_resets();
	user_resets();
	in_a_pause();
	busy();
	policies();
	return done_testing();
}
