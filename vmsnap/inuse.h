/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_INUSE_H
#define VMSNAP_INUSE_H

#include "format/tree/machine.h"
#include "libcommon/client/control.h"
#include "libcommon/publish.h"

/* Refuses to replace a file that the VM behind c uses: a disk, its kernel or initrd, the file of a
 * serial port. Nothing to do unless p replaces a file. */
int inuse_check(const struct publish *p, struct control *c, const struct machine *m,
		struct fail *why);

#endif
