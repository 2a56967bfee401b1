/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "vmrun/boot/boot_images.h"

int vm_boot(struct vm *vm, struct fail *why)
{
	struct boot_entry entry;

	if (images_need(vm, why))
		return -1;
	clock_open(&vm->clock);
	if (board_boot(vm->board, &vm->images, &entry, why))
		return -1;
	vm->warning = vm->accel->ops->warning ? vm->accel->ops->warning(vm->accel, &entry) : NULL;
	return vm->accel->ops->reset(vm->accel, &entry, why);
}
