/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_COMMANDS_COMMANDS_H
#define VMRUN_COMMANDS_COMMANDS_H

#include <stdbool.h>

/* Commands of vmrun beside running a VM: they print and return the exit status. list_main and ctl_main are
 * control's. */
int info_main(bool as_json);
int selftest_main(const char *accelerator);      /* NULL: each */

#endif
