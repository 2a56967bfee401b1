/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_REPORT_H
#define VMSNAP_REPORT_H

#include "vmsnap/save.h"

#include <stdio.h>

/* The last line of a save that was published: a sentence, or a JSON object {"event": "report", ...}. */
void report_print(FILE *out, const struct options *o, const struct save_report *r);

#endif
