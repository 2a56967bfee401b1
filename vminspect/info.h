/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_INFO_H
#define VMINSPECT_INFO_H

#include "vminspect/open_snapshot.h"

#include <jansson.h>

/* What `info` says, as JSON: keys in vminspect(1). header_only: nothing else could be read of it.
 * NULL: out of memory. */
json_t *info_json(const struct snapshot_view *v, bool header_only);

/* Texts for the header's numbers; "unknown". */
const char *info_arch(uint32_t arch);
const char *info_layout(unsigned layout);

#endif
