/* SPDX-License-Identifier: MIT */
/* Bytes of files and peers as text. */
#include "libcommon/text.h"
#include "tests/unit/tap.h"

#include <string.h>

static bool plain(const char *in, size_t capacity, const char *want)
{
	char out[64];

	return !strcmp(text_plain(in, out, capacity), want);
}

static bool json(const char *in, const char *want)
{
	json_t *j = text_json(in);
	bool    good = j && !strcmp(json_string_value(j), want);

	json_decref(j);
	return good;
}

int main(void)
{
	char hex[9];

	ok(plain("a.vms", 64, "a.vms") && plain("", 64, "") && plain("a b", 64, "a b"),
	   "what is printable stays");
	ok(plain("\x1b[31m\x7f\n", 64, "\\x1b[31m\\x7f\\x0a") &&
		   plain("\xc3\xa4\xff", 64, "\\xc3\\xa4\\xff"),
	   "what is not is shown by its number");
	ok(plain("\\x41", 64, "\\\\x41"), "a backslash of the text's own is doubled");
	ok(plain("abcdefghijkl", 12, "abcde...") && plain("\xff\xff\xff", 12, "\\xff\\xff...") &&
		   plain("abc", 8, "a..."),
	   "what has no room is cut");
	ok(json("b\xc3\xa4r.vms", "b\xc3\xa4r.vms") && json("", "") && json("a\\b", "a\\b"),
	   "UTF-8 is a JSON string as it is");
	ok(json("b\xe4r.vms", "b\\xe4r.vms") && json("\xc3", "\\xc3") &&
		   json("\\\xff\n", "\\\\\\xff\\x0a"),
	   "anything else is one too, escaped");
	ok(!strcmp(text_hex("\x00\x0f\xa5\xff", 4, hex), "000fa5ff") &&
	   !strcmp(text_hex("", 0, hex), ""),
	   "bytes as hex are two digits each");
	return done_testing();
}
