/* SPDX-License-Identifier: MIT */
#include "vmmigrate/note.h"

#include "libcommon/note.h"

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note_va("vmmigrate", fmt, ap);
	va_end(ap);
}
