/* SPDX-License-Identifier: MIT */
#include "tests/unit/tap.h"

#include <stdarg.h>

static unsigned tests, failed;
static FILE    *out;

void tap_to(FILE *f)
{
	out = f;
}

static FILE *tap(void)
{
	return out ? out : stdout;
}

/* Each line is flushed: a child that is forked next must not print it once more, and a test that
 * crashes has still said how far it came. */
void ok(bool good, const char *claim)
{
	fprintf(tap(), "%sok %u - %s\n", good ? "" : "not ", ++tests, claim);
	fflush(tap());
	failed += !good;
}

void skip(const char *claim, const char *reason)
{
	fprintf(tap(), "ok %u - %s # skip %s\n", ++tests, claim, reason);
	fflush(tap());
}

/* Weak, because vmrun has a function of this name, which reset_test.c replaces by a recorder. */
__attribute__((weak)) void note(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", tap());
	va_start(ap, fmt);
	vfprintf(tap(), fmt, ap);
	va_end(ap);
	fputc('\n', tap());
	fflush(tap());
}

int done_testing(void)
{
	fprintf(tap(), "1..%u\n", tests);
	fflush(tap());
	return failed ? 1 : 0;
}
