/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "vmrun/memory_file.h"
#include "vmrun/note.h"

#include <jansson.h>

/* A VM whose memory is a file (memory_file.h), when that file is not what it was. As long as no
 * page was missing the guest knows nothing of it and runs on, and only saves and moves are refused.
 * Once the guest may have seen zeros in place of a page it has no future: it is paused for good. */

/* In a signal handler, or by a vCPU. */
static void vm_memory_on_lost(void *arg)
{
	vm_event(arg, VM_EVENT_MEMORY);
}

void vm_memory_watch(struct vm *vm)
{
	vm->memory.on_lost_arg = vm;
	vm->memory.on_lost     = vm_memory_on_lost;
}

/* Why it was lost. A file that is as it was, and yet a page was missing: the medium. */
static void vm_memory_reason(const struct vm *vm, struct fail *why)
{
	const struct memory_file *f = vm->memory.file;

	if (memory_file_check(f, why) == 0)
		fail_set(why, FAIL_SYSTEM, "%s: Input/output error", f->path);
}

int vm_memory_check(struct vm *vm, struct fail *why)
{
	if (!memory_lost(&vm->memory))
		return vm->memory.file ? memory_file_check(vm->memory.file, why) : 0;
	vm_memory_reason(vm, why);
	return fail_prefix(why, "guest memory lost: ");
}

void vm_memory_stop(struct vm *vm)
{
	struct fail why = { 0 };
	char        text[600];

	if (!vm->memory_told) {
		vm->memory_told = true;
		vm_memory_reason(vm, &why);
		note("%s: guest memory lost, VM paused for good: %s; use 'vmrun ctl %s quit'",
		     vm->cfg.name, fail_text(&why, text, sizeof(text)), vm->cfg.name);
		vm_send_event(vm, "VMFERRY_MEMORY_LOST",
			      json_pack("{s:s, s:s}", "file", vm->memory.file->path, "reason",
					text));
	}
	/* Not paused in time, for example because a disk does not answer: tried again. Pausing
	 * waits 10 s, so the retries do not spin. */
	if (!runstate_held_by(vm, HOLD_MEMORY) && runstate_hold(vm, HOLD_MEMORY, &why) &&
	    !vm->run.ended)
		vm_event(vm, VM_EVENT_MEMORY);
}
