/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_SIGBUS_H
#define VMRUN_SIGBUS_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SIGBUS of mappings that may fail. Others are left to the handler that was there before. */

/**
 * sigbus_add - handle the SIGBUS of an address range
 * @at:   first address
 * @size: in bytes
 * @fn:   called by the thread whose access failed, in a signal handler: must be async-signal-safe.
 *        True: the access can be repeated; false: as if the range had not been added
 * @arg:  of @fn
 * @why:  FAIL_LIMIT, FAIL_SYSTEM
 *
 * Main thread.
 *
 * Return: 0 or -1.
 */
int sigbus_add(const void *at, size_t size, bool (*fn)(void *arg, uintptr_t addr), void *arg,
	       struct fail *why);
/* The range that begins at that address, if there is one; it must not be accessed any more. */
void sigbus_remove(const void *at);

#endif
