/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_QMP_H
#define VMRUN_CONTROL_QMP_H

#include "libcommon/fail.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* QMP's framing and its requests, as QEMU documents them; nothing here knows a VM (fuzzed by
 * tests/fuzz/qmp_line.c). */

#define QMP_LINE_MAX  (1u << 20)
#define QMP_DEPTH_MAX 64u

/* Finds where one JSON value ends: at the bracket that closes the first one, or, when it does not
 * begin with a bracket (an error), at the end of that word, string or sign. A control character
 * that JSON does not allow there ends the value too; then input is dropped up to the next control
 * character or structural one, as QEMU's lexer does. Zeroed to begin. */
struct qmp_scan {
	unsigned depth;
	bool     begun, bare, string, escape, recover;
};

enum qmp_step {
	QMP_BLANK,     /* between values: skip it */
	QMP_MORE,      /* part of a value */
	QMP_VALUE,     /* last byte of a value */
	QMP_BEFORE,    /* the byte before was the last of a value: scan this one again */
	QMP_RESET,     /* forget the value so far (a client that starts anew) */
	QMP_DEEP,      /* nested too deeply */
};
enum qmp_step qmp_scan(struct qmp_scan *s, char c);

/* A parsed request. id and args are borrowed from root. */
struct qmp_request {
	json_t     *root;
	json_t     *id;           /* NULL for none */
	json_t     *args;         /* object, NULL for none */
	const char *command;
};

/* root is set whenever text was an object, also on failure, so that the id can be answered. */
int  qmp_parse(struct qmp_request *r, const char *text, size_t len, struct fail *why);
void qmp_request_close(struct qmp_request *r);

json_t *qmp_greeting(void);
json_t *qmp_version(void);
json_t *qmp_return(json_t *id, json_t *value);                     /* takes value; NULL: {} */
json_t *qmp_error(json_t *id, const char *class, const char *desc);
json_t *qmp_event(const char *name, json_t *data, uint64_t seq);                /* takes data */

#endif
