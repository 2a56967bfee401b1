/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_CONVERT_REPORT_H
#define VMSNAP_CONVERT_REPORT_H

#include "vmsnap/convert.h"

#include <stdio.h>

/* The final report of a conversion: a sentence, or a JSON object with "event": "report"
 * (vmsnap.1). */
void convert_report_print(FILE *out, const struct options *o, const struct convert_report *r);

#endif
