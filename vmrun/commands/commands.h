/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_COMMANDS_COMMANDS_H
#define VMRUN_COMMANDS_COMMANDS_H

#include <stdbool.h>

/* Commands of vmrun beside running a VM: they print and return the exit status (docs/control.md 9).
 * The operands of ctl are VM COMMAND [key=value]... */
int list_main(bool json);
int ctl_main(int noperands, char **operands);
int info_main(bool as_json);
int selftest_main(const char *accelerator);      /* NULL: each */

#endif
