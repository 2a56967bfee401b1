/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_UNITS_H
#define LIBCOMMON_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers as people write and read them. Each parser takes the whole text, refuses signs, spaces
 * and what does not fit, and leaves *out untouched when it returns false. */

/* Decimal, min to max. */
bool units_number(uint64_t *out, const char *text, uint64_t min, uint64_t max);
/* "4096", "256M", "1G": K, M, G, T are powers of 1024. */
bool units_size(uint64_t *out, const char *text);
/* "50ms", "2s", "500us", "100ns", "10m", "1h"; "0". */
bool units_duration(uint64_t *out_ns, const char *text);

#define UNITS_TEXT 24
const char *units_bytes(uint64_t bytes, char out[UNITS_TEXT]);         /* "16.0 MiB" */
const char *units_ms(uint64_t ns, char out[UNITS_TEXT]);               /* "1.27 ms", "5.2 s" */

#endif
