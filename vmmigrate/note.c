#include "vmmigrate/note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void note(const char *fmt, ...)
{
	char    line[1024] = "vmmigrate: ";
	size_t  n          = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	n = strlen(line);
	line[n] = '\n';
	/* One write a line: several processes share the log. */
	if (write(STDERR_FILENO, line, n + 1) < 0)
		return;
}
