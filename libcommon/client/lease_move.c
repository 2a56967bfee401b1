/* SPDX-License-Identifier: MIT */
#include "libcommon/client/lease_internal.h"

#include "libcommon/io.h"

#include <string.h>
#include <unistd.h>

/* The end of a save, and the verbs of a move (docs/control.md 8). */

/* Verbs about a snapshot or a move, named by uuid; text may be NULL. */
static int lease_call_uuid(struct lease *l, enum lease_verb verb, const struct uuid *uuid,
			   const char *text, uint64_t a0, struct fail *why)
{
	struct lease_msg m = { .verb = verb, .a = { a0 }, .uuid = *uuid };

	if (text && strlen(text) >= sizeof(m.text))
		return fail_set(why, FAIL_USAGE, "%.80s...: name too long", text);
	if (text)
		memcpy(m.text, text, strlen(text));
	return lease_call(l, &m, -1, NULL, 0, LEASE_SLOW_MS, why);
}

int lease_commit(struct lease *l, const struct uuid *snapshot, struct fail *why)
{
	return lease_call_uuid(l, LEASE_COMMIT, snapshot, NULL, 0, why);
}

int lease_moving(struct lease *l, const struct uuid *move, const char *peer, struct fail *why)
{
	return lease_call_uuid(l, LEASE_MOVING, move, peer, 0, why);
}

int lease_release(struct lease *l, const struct uuid *move, struct fail *why)
{
	return lease_call_uuid(l, LEASE_RELEASE, move, NULL, 0, why);
}

int lease_claim(struct lease *l, int lock_fd, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_CLAIM };

	return lease_call(l, &m, lock_fd, NULL, 0, LEASE_ANSWER_MS, why);
}

int lease_written(struct lease *l, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_WRITTEN };

	return lease_call(l, &m, -1, NULL, 0, LEASE_SLOW_MS, why);
}

int lease_load(struct lease *l, const void *fdt, size_t len, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_LOAD, .a = { len } };

	if (len > LEASE_TREE_MAX)
		return fail_set(why, FAIL_LIMIT, "VM tree too large: %zu bytes", len);
	int fd = io_memfd("vmferry-tree", fdt, len, why);

	if (fd < 0)
		return -1;
	int rc = lease_call(l, &m, fd, NULL, 0, LEASE_SLOW_MS, why);

	close(fd);
	return rc;
}

int lease_ready(struct lease *l, const struct uuid *move, const char *peer, uint64_t generation,
		struct fail *why)
{
	return lease_call_uuid(l, LEASE_READY, move, peer, generation, why);
}

int lease_start(struct lease *l, const struct uuid *move, struct fail *why)
{
	return lease_call_uuid(l, LEASE_START, move, NULL, 0, why);
}

int lease_abort(struct lease *l, const struct uuid *move, struct fail *why)
{
	return lease_call_uuid(l, LEASE_ABORT, move, NULL, 0, why);
}

int lease_retake(struct lease *l, const struct uuid *move, bool confirmed, struct fail *why)
{
	return lease_call_uuid(l, LEASE_RETAKE, move, NULL, confirmed ? 1 : 0, why);
}

int lease_retaking(struct lease *l, const struct uuid *move, bool on, struct fail *why)
{
	return lease_call_uuid(l, LEASE_RETAKING, move, NULL, on ? 1 : 0, why);
}

int lease_done(struct lease *l, const struct uuid *move, uint64_t generation, struct fail *why)
{
	return lease_call_uuid(l, LEASE_DONE, move, NULL, generation, why);
}
