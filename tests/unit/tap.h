/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdbool.h>
#include <stdio.h>

/*
 * What every unit test reports by: TAP, as tests/tools/run-check reads it. A test program calls
 * ok() once a claim and ends with `return done_testing();`, which prints the plan and gives the
 * status.
 */
void ok(bool good, const char *claim);
void skip(const char *claim, const char *reason);                          /* counts as a test */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));     /* a line "# text" */
int  done_testing(void);                                                   /* 1: a test failed */

/* Where all of it goes, for a test that gives its stdout away. Default: stdout. */
void tap_to(FILE *f);

#endif
