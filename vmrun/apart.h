/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_APART_H
#define VMRUN_APART_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <sys/stat.h>

/* A serial port appends to its file: that must not be a file which the VM uses otherwise, under
 * whatever name. */

/* The file st is in use, as `what` ("the snapshot"): refused as the file of a serial port of m. */
int apart_from(const struct machine *m, const struct stat *st, const char *what, struct fail *why);
/* The same for its disks, kernel and initrd. */
int apart_from_hosts(const struct machine *m, struct fail *why);

#endif
