/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_TEXT_H
#define LIBCOMMON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* File names and what files and peers contain are bytes: here they become text that can neither
 * control a terminal nor break JSON. */

/* Printable ASCII as it is, '\\' doubled, all else as \xNN; truncated with "..." when it does not
 * fit (capacity is at least 8). Returns out. */
const char *text_plain(const char *in, char *out, size_t capacity);
/* A JSON string: UTF-8 as it is, anything else as text_plain() writes it. NULL only without
 * memory. */
json_t *text_json(const char *in);
/* Two lower-case hex digits a byte, most significant first, and a NUL: out has 2 * len + 1 bytes.
 * Returns out. */
const char *text_hex(const void *in, size_t len, char *out);

#endif
