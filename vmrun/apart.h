#ifndef VMRUN_APART_H
#define VMRUN_APART_H

#include "format/machine.h"
#include "libcommon/fail.h"

#include <sys/stat.h>

/* A serial line appends to the file it is given: that must be no file which the VM uses otherwise, whatever it is called. */

/* The file st is in use, as `what` ("the snapshot"): is a serial line of m to go there? */
int apart_from(const struct machine *m, const struct stat *st, const char *what, struct fail *why);
/* From its disks, kernel and initrd. */
int apart_from_hosts(const struct machine *m, struct fail *why);

#endif
