/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_LEASE_FDS_H
#define VMRUN_CONTROL_LEASE_FDS_H

#include "libcommon/fail.h"

/* The same file, opened again read-only: protects against accidents, not against a peer of our own
 * uid, who could open it for writing. -1 with *why. */
int session_fd_readonly(int fd, const char *what, struct fail *why);

#endif
