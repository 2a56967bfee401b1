/* SPDX-License-Identifier: MIT */
#include "libcommon/fail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fail_fill(struct fail *why, enum fail_kind kind, int sys, uint64_t at, const char *fmt,
		     va_list ap)
{
	why->kind = kind;
	why->sys  = sys;
	fail_locate(why, at);
	vsnprintf(why->what, sizeof(why->what), fmt, ap);
	/* Names from files and peers must not control a terminal. */
	for (char *c = why->what; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return -1;
}

int fail_set(struct fail *why, enum fail_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail_fill(why, kind, 0, FAIL_NOWHERE, fmt, ap);
	va_end(ap);
	return -1;
}

int fail_at(struct fail *why, enum fail_kind kind, uint64_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail_fill(why, kind, 0, at, fmt, ap);
	va_end(ap);
	return -1;
}

int fail_sys(struct fail *why, const char *fmt, ...)
{
	int     sys = errno;
	va_list ap;

	va_start(ap, fmt);
	fail_fill(why, FAIL_SYSTEM, sys, FAIL_NOWHERE, fmt, ap);
	va_end(ap);
	return -1;
}

int fail_prefix(struct fail *why, const char *fmt, ...)
{
	char    old[sizeof(why->what)];
	char    head[160];
	va_list ap;

	memcpy(old, why->what, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	snprintf(why->what, sizeof(why->what), "%s%.*s", head,
		 (int)(sizeof(why->what) - sizeof(head)), old);
	return -1;
}

void fail_locate(struct fail *why, uint64_t at)
{
	why->has_at = at != FAIL_NOWHERE;
	why->at     = at;
}

const char *fail_text(const struct fail *why, char *buf, size_t len)
{
	int n = snprintf(buf, len, "%s", why->what[0] ? why->what : "unknown failure");

	if (why->sys && n >= 0 && (size_t)n < len)
		n += snprintf(buf + n, len - (size_t)n, ": %s", strerror(why->sys));
	if (why->has_at && n >= 0 && (size_t)n < len)
		snprintf(buf + n, len - (size_t)n, " (at byte %" PRIu64 ")", why->at);
	return buf;
}

int fail_status(enum fail_kind kind)
{
	switch (kind) {
	case FAIL_NONE:    return 0;
	case FAIL_SYSTEM:  return 1;
	case FAIL_USAGE:   return 2;
	case FAIL_CORRUPT:
	case FAIL_VERSION:
	case FAIL_LIMIT:
	case FAIL_REFUSED: return 3;
	case FAIL_PEER:    return 4;
	case FAIL_OWNER:   return 5;
	case FAIL_ENDED:   return 6;
	case FAIL_KINDS:   break;
	}
	return 1;
}

int fail_report(const char *prog, const struct fail *why)
{
	char line[sizeof(why->what) + 128];

	fprintf(stderr, "%s: %s\n", prog, fail_text(why, line, sizeof(line)));
	return fail_status(why->kind == FAIL_NONE ? FAIL_SYSTEM : why->kind);
}
