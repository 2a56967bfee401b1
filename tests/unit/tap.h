/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdbool.h>

/* TAP, for the harnesses that several tests share. */
void ok(bool good, const char *claim);
void skip(const char *claim, const char *reason);
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int done_testing(void);

#endif
