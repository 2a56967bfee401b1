/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOOT_SET_BOOT_H
#define VMRUN_BOOT_SET_BOOT_H

#include "libcommon/fail.h"

struct vm;

/* What the next reset boots, specified for an existing VM (vmferry-set-boot). NULL: unchanged. */
struct boot_given {
	const char *kernel, *initrd;      /* absolute paths; initrd: as --initrd takes it */
	const char *append;
};

/* Reads the files now, checks that this machine can boot them, and replaces path, size, digest and
 * image of each, or nothing. Under control_lock, and not while anybody saves the VM: who has read
 * its configuration has the old one. */
int set_boot(struct vm *vm, const struct boot_given *given, struct fail *why);

#endif
