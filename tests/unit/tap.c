/* SPDX-License-Identifier: MIT */
#include "tests/unit/tap.h"

#include <stdarg.h>
#include <stdio.h>

static unsigned tests, failed;

void ok(bool good, const char *claim)
{
	printf("%sok %u - %s\n", good ? "" : "not ", ++tests, claim);
	fflush(stdout);
	failed += !good;
}

void skip(const char *claim, const char *reason)
{
	printf("ok %u - %s # skip %s\n", ++tests, claim, reason);
}

void note(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fputc('\n', stdout);
	fflush(stdout);
}

int done_testing(void)
{
	printf("1..%u\n", tests);
	return failed ? 1 : 0;
}
