/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_SET_BOOT_H
#define VMRUN_BOOT_SET_BOOT_H

#include "libcommon/fail.h"

struct vm;

/* What the next reset boots, given to a VM that exists already (vmferry-set-boot). NULL: as it is. */
struct boot_given {
	const char *kernel, *initrd;      /* absolute paths; initrd: whatever --initrd takes */
	const char *append;
};

/* Under control_lock: reads the files now, checks that this machine can boot them, and replaces path, size, digest and
 * image of each. All or nothing. Whoever has got the VM's configuration has the old one: not while somebody saves it. */
int set_boot(struct vm *vm, const struct boot_given *given, struct fail *why);

#endif
