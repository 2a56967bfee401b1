/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_DTS_H
#define VMINSPECT_DTS_H

#include <stdio.h>

/* The checked tree as source text that dtc reads; what this build does not know carries a
 * comment. */
void dts_print(FILE *out, const void *fdt);

#endif
