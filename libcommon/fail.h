/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_FAIL_H
#define LIBCOMMON_FAIL_H

#include <stddef.h>
#include <stdint.h>

/* Library code returns 0 or -1 and fills a caller's struct fail; it never prints, exits or keeps a last error.
 * A kind is about what the user does next, and decides the exit status of the whole suite. */
enum fail_kind {
	FAIL_NONE,
	FAIL_SYSTEM,    /* the host said no: exit 1 */
	FAIL_USAGE,     /* wrong command line or argument: exit 2 */
	FAIL_CORRUPT,   /* the file or stream is damaged: exit 3 */
	FAIL_VERSION,   /* made by another version, or for another machine: exit 3 */
	FAIL_LIMIT,     /* a number above what this build accepts: exit 3 */
	FAIL_REFUSED,   /* sound, but not to be used here: untrusted path, disk moved on: exit 3 */
	FAIL_PEER,      /* the other side went away or refused; the source still runs: exit 4 */
	FAIL_OWNER,     /* ownership is elsewhere or in doubt: exit 5 */
	FAIL_ENDED,     /* the VM ended while being waited for: exit 6 */
	FAIL_KINDS
};

#define FAIL_NOWHERE UINT64_MAX

struct fail {
	enum fail_kind kind;
	int            sys;        /* errno for FAIL_SYSTEM, else 0 */
	uint64_t       at;         /* byte offset in the file or stream, FAIL_NOWHERE when there is none */
	char           what[1024];  /* no newline, no program name */
};

/* Each fills *why and returns -1, so that a caller can write: return fail_set(...).
 * An earlier failure in *why is overwritten. why is never NULL. */
int fail_set(struct fail *why, enum fail_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int fail_at(struct fail *why, enum fail_kind kind, uint64_t at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int fail_sys(struct fail *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* takes errno first of all */

/* Puts words before what is there ("disk root: "), keeping the kind and the place. Returns -1. */
int fail_prefix(struct fail *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line without newline: what[: strerror][ (at byte N)]. Returns buf. */
const char *fail_text(const struct fail *why, char *buf, size_t len);

/* The exit status of a kind: design.md 10. */
int fail_status(enum fail_kind kind);

/* "prog: text\n" on stderr; returns the exit status. Called by a main.c only. */
int fail_report(const char *prog, const struct fail *why);

#endif
