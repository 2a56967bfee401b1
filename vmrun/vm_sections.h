/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_VM_SECTIONS_H
#define VMRUN_VM_SECTIONS_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>

/* The way of a register into a snapshot: the accelerator puts it into a struct (sync_state); here
 * the structs of vCPUs and devices are gathered, once; format/ writes what the list names. Nothing
 * on the way calls back into an earlier step. A load goes the same way, up to post_load. */

struct vm;

struct vm_section {
	enum machine_owner   owner;
	uint32_t             index;       /* of the vCPU or device */
	struct state_section section;     /* .s is the live struct */
};

struct vm_sections {
	struct machine_sections walk;     /* for machine_write and machine_load_state */
	struct vm_section      *list;     /* the VM's, then each vCPU's, then each device's */
	size_t                  n, capacity;
};

/* Of a paused VM; valid as long as its board is open. *s must stay where it is, since walk points
 * to it. Takes the machine lock. On failure there is nothing to close. */
int vm_sections_open(struct vm *vm, struct vm_sections *s, struct fail *why);
void vm_sections_close(struct vm_sections *s);

#endif
