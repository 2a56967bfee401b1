/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_COMMANDS_COMMANDS_H
#define VMRUN_COMMANDS_COMMANDS_H

/* Commands of vmrun beside running a VM: argv[0] is the word itself; they print and return the exit status. list_main and
 * ctl_main are control's. */
int info_main(int argc, char **argv);
int selftest_main(int argc, char **argv);

#endif
