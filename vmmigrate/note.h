/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_NOTE_H
#define VMMIGRATE_NOTE_H

/* "vmmigrate: ..." on stderr: what a listener, which has no result to print, tells its log. Control characters, which a peer
 * may have put into names and reasons, come out as '?'. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
