/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_NOTE_H
#define VMRUN_NOTE_H

/* "vmrun: ..." on standard error (libcommon/note.h): what the user of a VM should know while it
 * runs. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
