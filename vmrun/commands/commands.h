/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_COMMANDS_COMMANDS_H
#define VMRUN_COMMANDS_COMMANDS_H

/* Commands of vmrun beside running a VM: argv[0] is the command's name; they print and return the
 * exit status (docs/control.md 9). */
int list_main(int argc, char **argv);
int ctl_main(int argc, char **argv);
int info_main(int argc, char **argv);
int selftest_main(int argc, char **argv);

#endif
