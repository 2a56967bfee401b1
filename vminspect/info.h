/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_INFO_H
#define VMINSPECT_INFO_H

#include "vminspect/open_snapshot.h"

#include <jansson.h>

/* What `info` says, as JSON: keys in vminspect(1). v may hold no more than a header (headless machine). NULL: no memory. */
json_t *info_json(const struct snapshot_view *v, bool header_only);

/* Words for the header's numbers. */
const char *info_arch(uint32_t arch);
const char *info_layout(unsigned layout);

#endif
