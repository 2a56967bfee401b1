/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_CONVERT_SPOOL_H
#define VMSNAP_CONVERT_SPOOL_H

#include "vmsnap/convert_in.h"

/* Reads in->fd behind the header to END, verified, into a temporary snapshot, in->spool, without
 * its images, which go to in->images. Fills what convert_in_read says but the counts of pages. */
int convert_spool(struct convert_in *in, const struct destination *to, const struct hostkey *k,
		  struct fail *why);

/* Is a chunk of this type lost by a conversion? */
bool convert_in_leaves_out(uint16_t type);

#endif
