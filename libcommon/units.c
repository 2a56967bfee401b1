/* SPDX-License-Identifier: MIT */
#include "libcommon/units.h"

#include <stdio.h>
#include <string.h>

/* Parses the digits at the start of text into *n; returns what follows, NULL when there are none or
 * too many. */
static const char *units_digits(uint64_t *n, const char *text)
{
	const char *p = text;

	*n = 0;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*n, 10u, n) ||
		    __builtin_add_overflow(*n, (uint64_t)(*p - '0'), n))
			return NULL;
	return p == text ? NULL : p;
}

bool units_number(uint64_t *out, const char *text, uint64_t min, uint64_t max)
{
	uint64_t    n;
	const char *end = units_digits(&n, text);

	if (!end || *end || n < min || n > max)
		return false;
	*out = n;
	return true;
}

bool units_size(uint64_t *out, const char *text)
{
	static const char suffixes[] = "KMGT";
	uint64_t    n;
	const char *end = units_digits(&n, text);

	if (!end)
		return false;
	if (*end) {
		char        c = *end >= 'a' && *end <= 'z' ? (char)(*end - 'a' + 'A') : *end;
		const char *at = strchr(suffixes, c);

		if (!at || end[1] ||
		    __builtin_mul_overflow(n, (uint64_t)1024 << (10 * (at - suffixes)), &n))
			return false;
	}
	*out = n;
	return true;
}

bool units_duration(uint64_t *out_ns, const char *text)
{
	static const struct { const char *name; uint64_t ns; } table[] = {
		{ "ns", 1 },
		{ "us", 1000 },
		{ "ms", 1000000 },
		{ "s", 1000000000 },
		{ "m", 60000000000 },
		{ "h", 3600000000000 },
	};
	uint64_t    n;
	const char *end = units_digits(&n, text);

	if (!end)
		return false;
	if (!*end && n == 0) {
		*out_ns = 0;
		return true;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(end, table[i].name) && !__builtin_mul_overflow(n, table[i].ns, &n)) {
			*out_ns = n;
			return true;
		}
	return false;
}

const char *units_bytes(uint64_t bytes, char out[UNITS_TEXT])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = (double)bytes;
	size_t i = 0;

	for (; n >= 1024 && i + 1 < sizeof(names) / sizeof(names[0]); i++)
		n /= 1024;
	snprintf(out, UNITS_TEXT, i ? "%.1f %s" : "%.0f %s", n, names[i]);
	return out;
}

const char *units_ms(uint64_t ns, char out[UNITS_TEXT])
{
	if (ns < 1000000000u)
		snprintf(out, UNITS_TEXT, "%.2f ms", (double)ns / 1e6);
	else
		snprintf(out, UNITS_TEXT, "%.1f s", (double)ns / 1e9);
	return out;
}
