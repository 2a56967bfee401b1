/* SPDX-License-Identifier: MIT */
/* Sizes and durations of command lines: what is read, what is refused, what is printed. */
#include "tests/unit/tap.h"

#include "libcommon/units.h"

#include <stdio.h>
#include <string.h>

static bool size_is(const char *text, uint64_t want)
{
	uint64_t n = 1;

	return units_size(&n, text) && n == want;
}

static bool time_is(const char *text, uint64_t want)
{
	uint64_t n = 1;

	return units_duration(&n, text) && n == want;
}

int main(void)
{
	static const char *const bad_sizes[] = { "", "M", "1X", "1MM", "-1", "+1", " 1", "1 ",
						 "0x10", "1.5G", "18446744073709551616",
						 "16777216T" };
	static const char *const bad_times[] = { "", "s", "1", "50", "1 s", "1ss", "-1s", "1.5s",
						 "1min", "18446744073709551615s" };
	uint64_t n = 7;
	char     text[UNITS_TEXT];
	bool     good = true;

	ok(size_is("0", 0) && size_is("4096", 4096) && size_is("1k", 1024) &&
	   size_is("256M", 256u << 20) && size_is("1G", 1u << 30) &&
	   size_is("16777215T", 16777215ull << 40), "sizes are powers of 1024");
	for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++)
		good = good && !units_size(&n, bad_sizes[i]) && n == 7;
	ok(good, "what is no size, or does not fit, is refused and leaves the variable alone");
	ok(time_is("0", 0) && time_is("7ns", 7) && time_is("500us", 500000) &&
	   time_is("50ms", 50000000) && time_is("2s", 2000000000) && time_is("10m", 600000000000) &&
	   time_is("1h", 3600000000000),
	   "durations name their unit");
	for (size_t i = 0; i < sizeof(bad_times) / sizeof(bad_times[0]); i++)
		good = good && !units_duration(&n, bad_times[i]) && n == 7;
	ok(good, "what is no duration, or does not fit, is refused and leaves the variable alone");
	ok(units_number(&n, "30", 0, 30) && n == 30 && !units_number(&n, "31", 0, 30) &&
	   !units_number(&n, "1", 2, 3) &&
	   !units_number(&n, "3x", 0, 30), "numbers keep to their bounds");
	ok(!strcmp(units_bytes(1023, text), "1023 B") &&
	   !strcmp(units_bytes(17 << 20, text), "17.0 MiB") &&
	   !strcmp(units_bytes(UINT64_MAX, text), "16.0 EiB"), "bytes are printed with a unit");
	ok(!strcmp(units_ms(1270000, text), "1.27 ms") &&
	   !strcmp(units_ms(5200000000, text), "5.2 s"), "durations are printed with a unit");
	return done_testing();
}
