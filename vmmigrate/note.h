/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_NOTE_H
#define VMMIGRATE_NOTE_H

/* "vmmigrate: TEXT" on stderr, for the log of a listener, which has no result to print. Control
 * characters, which a peer may have put into names and reasons, come out as '?'. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
