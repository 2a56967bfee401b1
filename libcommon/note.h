/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_NOTE_H
#define LIBCOMMON_NOTE_H

#include <stdarg.h>

/* "prog: text" on standard error, one line by one write, because several processes may share a log.
 * Control characters, which a peer, a file or a user may have put into names and reasons, become
 * '?'. For messages of a tool that goes on; a failure is reported by main. Each tool that needs it
 * has a note() of its own. */
void note_va(const char *prog, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
