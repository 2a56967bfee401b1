/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_FAULT_H
#define LIBCOMMON_FAULT_H

#include <stdbool.h>

/* Named ways to fail, in test builds only (make FAULTS=1); nothing of it is in an installed
 * binary.
 *
 * $VMFERRY_FAULT is "POINT=ACTION[,POINT=ACTION...]". fault_point(POINT) then does, once:
 *
 *   kill        kill -9 of this process
 *   stop:FILE   creates FILE, then sleeps for ever in this thread (the test kills whom it likes)
 *   wait:FILE   creates FILE, then waits until FILE is removed and goes on
 *   hold:FILE   each time: while FILE exists, which the test creates and removes, creates FILE.held
 *               and waits
 *
 * fault_hit(POINT) is true when the point is named with action "hit", or with "hit:FILE" while FILE
 * exists: the code does its own damage. */
#ifdef VMFERRY_FAULTS
void fault_point(const char *point);
bool fault_hit(const char *point);
#else
static inline void fault_point(const char *point) { (void)point; }
static inline bool fault_hit(const char *point) { (void)point; return false; }
#endif

#endif
