/* SPDX-License-Identifier: MIT */
#include "libcommon/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *text_plain(const char *in, char *out, size_t capacity)
{
	char *p = out, *end = out + capacity;

	for (; *in; in++) {
		unsigned char c = (unsigned char)*in;

		if (end - p < 8) {
			strcpy(p, "...");
			return out;
		}
		if (c < 0x20 || c >= 0x7f)
			p += sprintf(p, "\\x%02x", c);
		else if (c == '\\')
			p += sprintf(p, "\\\\");
		else
			*p++ = (char)c;
	}
	*p = '\0';
	return out;
}

json_t *text_json(const char *in)
{
	json_t *j        = json_string(in);
	size_t  capacity = 4 * strlen(in) + 16;
	char   *plain;

	if (j)
		return j;
	plain = malloc(capacity);
	if (plain)
		j = json_string(text_plain(in, plain, capacity));
	free(plain);
	return j;
}

const char *text_hex(const void *in, size_t len, char *out)
{
	static const char    digits[] = "0123456789abcdef";
	const unsigned char *bytes    = in;

	for (size_t i = 0; i < len; i++) {
		out[2 * i]     = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
	return out;
}
