/* SPDX-License-Identifier: MIT */
#include "libcommon/client/copy_options.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/units.h"

#include <string.h>

/* As COPY_LEVEL_VALID says. */
#define COPY_LEVEL_FAST   100u      /* negative */
#define COPY_LEVEL_STRONG 19u

const char *const copy_level_words[1] = { "auto" };

int copy_level(void *target, const char *text, struct fail *why)
{
	bool     minus = text[0] == '-';
	uint64_t n;

	(void)why;
	if (!strcmp(text, copy_level_words[0])) {
		*(int *)target = SNAP_LEVEL_AUTO;
		return 0;
	}
	if (!units_number(&n, text + minus, 0, minus ? COPY_LEVEL_FAST : COPY_LEVEL_STRONG))
		return -1;
	*(int *)target = minus ? -(int)n : (int)n;
	return 0;
}
