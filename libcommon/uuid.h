/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_UUID_H
#define LIBCOMMON_UUID_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT 37   /* with the terminating NUL */

struct uuid { uint8_t b[16]; };

int  uuid_random(struct uuid *u, struct fail *why);          /* RFC 9562 version 4 */
void uuid_text(const struct uuid *u, char out[UUID_TEXT]);   /* lower case, 8-4-4-4-12 */
bool uuid_parse(struct uuid *u, const char *text);           /* false: *u untouched */
bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_nil(const struct uuid *u);

#endif
