/* SPDX-License-Identifier: MIT */
#include "libcommon/uuid.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int uuid_random(struct uuid *u, struct fail *why)
{
	if (getrandom(u->b, sizeof(u->b), 0) != (ssize_t)sizeof(u->b))
		return fail_sys(why, "getrandom");
	u->b[6] = (uint8_t)((u->b[6] & 0x0f) | 0x40);
	u->b[8] = (uint8_t)((u->b[8] & 0x3f) | 0x80);
	return 0;
}

void uuid_text(const struct uuid *u, char out[UUID_TEXT])
{
	char *p = out;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", u->b[i]);
	}
}

static int uuid_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool uuid_parse(struct uuid *u, const char *text)
{
	struct uuid r;

	for (int i = 0; i < 16; i++) {
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return false;
		int hi = uuid_digit(text[0]), lo = hi < 0 ? -1 : uuid_digit(text[1]);

		if (lo < 0)
			return false;
		r.b[i] = (uint8_t)(hi << 4 | lo);
		text += 2;
	}
	if (*text)
		return false;
	*u = r;
	return true;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool uuid_is_nil(const struct uuid *u)
{
	static const struct uuid nil;

	return uuid_equal(u, &nil);
}
