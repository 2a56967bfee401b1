/* SPDX-License-Identifier: MIT */
#include "vminspect/show.h"

#include "libcommon/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *show_time(int64_t ns, char out[40])
{
	int64_t   part = ns % 1000000000 < 0 ? ns % 1000000000 + 1000000000 : ns % 1000000000;
	time_t    t    = (time_t)((ns - part) / 1000000000);
	struct tm tm;
	char      day[24];

	if (!gmtime_r(&t, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(day, sizeof(day), "?");
	snprintf(out, 40, "%s.%09" PRId64 "Z", day, part);
	return out;
}

json_t *show_json_hex(const uint8_t *in, size_t len)
{
	char   *text = malloc(2 * len + 1);
	json_t *j    = text ? json_string(text_hex(in, len, text)) : NULL;

	free(text);
	return j;
}

json_t *show_json_x64(uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, v);
	return json_string(text);
}

json_t *show_json_u64(uint64_t v)
{
	char text[24];

	if (v <= INT64_MAX)
		return json_integer((json_int_t)v);
	snprintf(text, sizeof(text), "%" PRIu64, v);
	return json_string(text);
}

void show_word(char *out, size_t capacity, const char *fmt, ...)
{
	size_t  n = strlen(out);
	va_list ap;

	if (n && n + 1 < capacity) {
		out[n++] = ' ';
		out[n]   = '\0';
	}
	va_start(ap, fmt);
	vsnprintf(out + n, capacity - n, fmt, ap);
	va_end(ap);
}

int show_json(json_t *j)
{
	int rc;

	if (!j) {
		errno = ENOMEM;
		return -1;
	}
	rc = json_dumpf(j, stdout, JSON_INDENT(2));
	json_decref(j);
	if (rc == 0)
		rc = putchar('\n') == EOF ? -1 : 0;
	return rc;
}
