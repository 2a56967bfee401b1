/* SPDX-License-Identifier: MIT */
#include "libcommon/note.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void note_va(const char *prog, const char *fmt, va_list ap)
{
	char   line[1024];
	size_t n = (size_t)snprintf(line, sizeof(line) / 2, "%s: ", prog);

	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	n = strlen(line);
	line[n] = '\n';
	if (write(STDERR_FILENO, line, n + 1) < 0)
		return;
}
