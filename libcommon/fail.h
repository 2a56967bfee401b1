/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_FAIL_H
#define LIBCOMMON_FAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How library code reports a failure: a function returns 0 or -1 and fills the caller's struct
 * fail. It never prints, exits or keeps a last error, so that parsers can be tested and fuzzed and
 * any thread may fail. Nothing is locked here: a struct fail belongs to one thread at a time. */

/**
 * enum fail_kind - what the user does next, and so the exit status of every tool
 * @FAIL_NONE:    no failure; 0, so that a zeroed struct fail is valid
 * @FAIL_SYSTEM:  a system call failed, or memory ran out: exit 1
 * @FAIL_USAGE:   invalid command line or argument: exit 2
 * @FAIL_CORRUPT: the file or stream is damaged: exit 3
 * @FAIL_VERSION: made by another version, or for another machine: exit 3
 * @FAIL_LIMIT:   a number above what this build accepts: exit 3
 * @FAIL_REFUSED: valid, but not to be used here (untrusted path, disk modified since): exit 3
 * @FAIL_PEER:    the other side went away or refused; the source still runs: exit 4
 * @FAIL_OWNER:   the VM is owned elsewhere, or its ownership is unresolved: exit 5
 * @FAIL_ENDED:   the VM ended while being waited for: exit 6
 * @FAIL_KINDS:   number of kinds
 *
 * The numbers travel in lease messages (docs/control.md 6): new ones are added before FAIL_KINDS.
 */
enum fail_kind {
	FAIL_NONE,
	FAIL_SYSTEM,
	FAIL_USAGE,
	FAIL_CORRUPT,
	FAIL_VERSION,
	FAIL_LIMIT,
	FAIL_REFUSED,
	FAIL_PEER,
	FAIL_OWNER,
	FAIL_ENDED,
	FAIL_KINDS
};

/* As an offset: none. */
#define FAIL_NOWHERE UINT64_MAX

/**
 * struct fail - one failure
 * @kind:   decides the exit status
 * @sys:    errno whose text follows @what; 0 for none
 * @has_at: @at is known
 * @at:     byte offset in the file or stream
 * @what:   NUL-terminated; no newline, no control character, no program name
 *
 * All zero is valid: no failure, without errno and offset.
 */
struct fail {
	enum fail_kind kind;
	int            sys;
	bool           has_at;
	uint64_t       at;
	char           what[1024];
};

/**
 * fail_set - fill in a failure
 * @why:  never NULL; an earlier failure in it is overwritten
 * @kind: any but FAIL_NONE
 * @fmt:  printf format of the message, which is truncated to fit; control characters, which names
 *        from files and peers may contain, become '?'
 *
 * fail_at() adds the byte offset @at, FAIL_NOWHERE for none. fail_sys() is FAIL_SYSTEM with errno,
 * which it reads before anything else.
 *
 * Return: always -1, so that a caller can write: return fail_set(...).
 */
int fail_set(struct fail *why, enum fail_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int fail_at(struct fail *why, enum fail_kind kind, uint64_t at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int fail_sys(struct fail *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * fail_prefix - put a subject ("disk root: ") before the message
 * @why: failure; kind, errno and offset are kept
 * @fmt: printf format; at most 159 characters of it are used
 *
 * Return: always -1.
 */
int fail_prefix(struct fail *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * fail_locate - set the offset of a failure
 * @why: failure
 * @at:  byte offset; FAIL_NOWHERE removes the one that is there
 */
void fail_locate(struct fail *why, uint64_t at);

/**
 * fail_text - one line, without newline: what[: strerror][ (at byte N)]
 * @why: failure; without a message (as in a zeroed one) the line says "unknown failure"
 * @buf: out, truncated to fit
 * @len: bytes in @buf, at least 1
 *
 * Return: @buf.
 */
const char *fail_text(const struct fail *why, char *buf, size_t len);

/**
 * fail_status - exit status of a kind
 * @kind: FAIL_NONE is 0; for a number that is no kind the status is 1
 */
int fail_status(enum fail_kind kind);

/**
 * fail_report - "prog: text\n" on standard error; called by a main.c only
 * @prog: program name
 * @why:  failure; FAIL_NONE counts as FAIL_SYSTEM, because whoever reports has failed
 *
 * Return: exit status, never 0.
 */
int fail_report(const char *prog, const struct fail *why);

#endif
