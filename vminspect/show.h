/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_SHOW_H
#define VMINSPECT_SHOW_H

#include "libcommon/text.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* What comes out of a snapshot is shown so that it cannot steer a terminal, nor break JSON. */

static inline const char *show_text(const char *in, char *out, size_t capacity)
{
	return text_plain(in, out, capacity);
}

static inline json_t *show_json_text(const char *in)
{
	return text_json(in);
}

/* 2026-11-21T04:26:01.000000000Z */
const char *show_time(int64_t ns, char out[40]);

json_t *show_json_hex(const uint8_t *in, size_t len);
json_t *show_json_x64(uint64_t v);              /* "0x1f" */
json_t *show_json_u64(uint64_t v);              /* a number; above 2^63 - 1 text */

/* Appends to out, which holds a string, after a space when it is not empty; truncated when out is
 * too small. */
void show_word(char *out, size_t capacity, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints and drops j, which may be NULL (out of memory): 0 or -1 with errno. */
int show_json(json_t *j);

#endif
