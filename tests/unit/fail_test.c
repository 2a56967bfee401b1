/* SPDX-License-Identifier: MIT */
/* struct fail: its text, its exit status, and that a zeroed one is valid. */
#include "libcommon/fail.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool reads(const struct fail *why, const char *want)
{
	char text[1200];

	return !strcmp(fail_text(why, text, sizeof(text)), want);
}

/* What fail_report() writes to standard error; its status. */
static int reported(const struct fail *why, char *line, size_t len)
{
	int     ends[2], kept = dup(STDERR_FILENO), status;
	ssize_t n;

	if (kept < 0 || pipe(ends) || dup2(ends[1], STDERR_FILENO) < 0)
		return -1;
	status = fail_report("tool", why);
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[1]);
	n = read(ends[0], line, len - 1);
	close(ends[0]);
	line[n > 0 ? n : 0] = '\0';
	return status;
}

static void test_zeroed(void)
{
	struct fail zero = { 0 };
	char        line[128];

	ok(FAIL_NONE == 0 && zero.kind == FAIL_NONE && !zero.has_at,
	   "a zeroed one is no failure, without offset");
	ok(fail_status(zero.kind) == 0, "its kind has exit status 0");
	ok(reads(&zero, "unknown failure"), "its text names neither errno nor offset");
	ok(reported(&zero, line, sizeof(line)) == 1 && !strcmp(line, "tool: unknown failure\n"),
	   "reported all the same it is status 1");
	fail_prefix(&zero, "disk root: ");
	ok(reads(&zero, "disk root: "), "a prefix is all of its text then");
}

static void test_filled(void)
{
	struct fail why = { 0 };
	char        line[128];

	fail_at(&why, FAIL_CORRUPT, 0, "a.vms: %s", "invalid chunk magic");
	ok(why.has_at && reads(&why, "a.vms: invalid chunk magic (at byte 0)"),
	   "an offset of 0 is an offset");
	ok(fail_set(&why, FAIL_PEER, "gone") == -1 && !why.has_at && reads(&why, "gone"),
	   "a new failure forgets the offset of the one before");
	fail_locate(&why, 4096);
	ok(reads(&why, "gone (at byte 4096)"), "an offset can be added");
	fail_locate(&why, FAIL_NOWHERE);
	ok(reads(&why, "gone"), "and be removed");
	errno = ENOSPC;
	fail_sys(&why, "a.vms: write");
	fail_prefix(&why, "save: ");
	ok(why.kind == FAIL_SYSTEM && why.sys == ENOSPC &&
	           reads(&why, "save: a.vms: write: No space left on device"),
	   "a prefix keeps kind and errno");
	fail_set(&why, FAIL_OWNER, "a\033[31mb\n");
	ok(reported(&why, line, sizeof(line)) == 5 && !strcmp(line, "tool: a?[31mb?\n"),
	   "a report is one line, without control characters, and its kind's status");
}

static void test_status(void)
{
	static const int want[FAIL_KINDS] = {
		[FAIL_NONE] = 0,    [FAIL_SYSTEM] = 1, [FAIL_USAGE] = 2,   [FAIL_CORRUPT] = 3,
		[FAIL_VERSION] = 3, [FAIL_LIMIT] = 3,  [FAIL_REFUSED] = 3, [FAIL_PEER] = 4,
		[FAIL_OWNER] = 5,   [FAIL_ENDED] = 6,
	};
	bool good = true;

	for (int k = 0; k < FAIL_KINDS; k++)
		good = good && fail_status((enum fail_kind)k) == want[k];
	ok(good && fail_status(FAIL_KINDS) == 1, "each kind has its exit status");
}

int main(void)
{
	test_zeroed();
	test_filled();
	test_status();
	return done_testing();
}
