/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_REPORT_H
#define VMSNAP_REPORT_H

#include "vmsnap/save.h"

#include <stdio.h>

/* The final report of a save: a sentence, or a JSON object with "event": "report" (vmsnap.1). */
void report_print(FILE *out, const struct options *o, const struct save_report *r);

#endif
