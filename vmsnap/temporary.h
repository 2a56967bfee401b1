/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_TEMPORARY_H
#define VMSNAP_TEMPORARY_H

#include "vmsnap/destination.h"

/* Files without a name, which end with the process: for what cannot be kept in memory. They hold
 * guest memory, so nobody else may open them. */

#define TEMPORARY_WHAT (PATH_MAX + 32)

/* In the folder of the destination; for standard output in $TMPDIR, /var/tmp without it. what: out,
 * names it in messages. Return: descriptor, or -1. */
int temporary_open(const struct destination *to, char what[TEMPORARY_WHAT], struct fail *why);

#endif
