/* SPDX-License-Identifier: MIT */
/* Records of who owns a VM: libcommon/client/moves.c. */
#include "tests/unit/tap.h"

#include "libcommon/client/moves.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[] = "/tmp/vf-moves.XXXXXX";

static struct move_record record(const struct uuid *vm)
{
	struct move_record r = { .vm = *vm, .state = MOVE_RELEASED, .generation = 7 };
	struct fail        why;

	uuid_random(&r.move, &why);
	snprintf(r.name, sizeof(r.name), "web");
	snprintf(r.peer, sizeof(r.peer), "host:4649");
	return r;
}

static const char *path_of(const struct uuid *vm, const char *suffix)
{
	static char path[512];
	char        id[UUID_TEXT];

	uuid_text(vm, id);
	snprintf(path, sizeof(path), "%s/moves/%s%s", top, id, suffix);
	return path;
}

#define RECORD "{\"vm\":\"%s\",\"move\":\"%s\",\"state\":\"%s\",\"generation\":1," \
	       "\"name\":\"a\",\"peer\":\"b\",\"when_ns\":1,\"outcomes\":[]}"

/* The record's file gets this text; reading it leaves ownership unresolved. */
static int doubtful(const struct uuid *vm, const char *text)
{
	struct move_record r;
	struct fail        why = { 0 };
	bool               found = true;
	FILE              *f = fopen(path_of(vm, ".json"), "w");

	fputs(text, f);
	fclose(f);
	int rc = moves_read(vm, &r, &found, &why);

	if (rc == 0 || why.kind != FAIL_OWNER)
		printf("# read as %s: %s\n", rc ? "another failure" : "sound", text);
	return rc != 0 && why.kind == FAIL_OWNER && !found;
}

static int count_one(void *arg, const struct move_record *r, struct fail *why)
{
	(void)r, (void)why;
	++*(int *)arg;
	return 0;
}

static void test_round_trip(struct uuid *vm)
{
	struct move_record r, got;
	struct fail        why;
	struct stat        st;
	bool               found = true;

	ok(moves_read(vm, &got, &found, &why) == 0 && !found, "no folder and no file: no record");
	r = record(vm);
	ok(moves_write(&r, &why) == 0 && moves_read(vm, &got, &found, &why) == 0 && found &&
	   got.state == MOVE_RELEASED &&
	   got.generation == 7 && uuid_equal(&got.move, &r.move) && !strcmp(got.name, "web") &&
	   !strcmp(got.peer, "host:4649") &&
	   got.when_ns, "a record comes back as it was written, with its time");
	ok(stat(path_of(vm, ".json"), &st) == 0 && (st.st_mode & 0777) == 0600 &&
	   access(path_of(vm, ".new"), F_OK) != 0,
	   "its file is private and nothing is left beside it");
	r.state = MOVE_OWNED;
	ok(moves_write(&r, &why) == 0 && moves_read(vm, &got, &found, &why) == 0 &&
	   got.state == MOVE_OWNED, "a later record replaces it");
	ok(moves_remove(vm, &why) == 0 && moves_remove(vm, &why) == 0 &&
	   moves_read(vm, &got, &found, &why) == 0 && !found,
	   "removed, twice, is no record");
}

static void test_damage(struct uuid *vm)
{
	struct uuid        other;
	struct move_record r = record(vm), got;
	struct fail        why;
	bool               found;
	char               id[UUID_TEXT], text[512];
	int                n = 0;

	uuid_random(&other, &why);
	uuid_text(&other, id);
	snprintf(text, sizeof(text), RECORD, id, id, "owned");
	ok(doubtful(vm, "") && doubtful(vm, "{}") && doubtful(vm, "no json") && doubtful(vm, text),
	   "an empty, damaged or foreign record is unresolved");
	uuid_text(vm, id);
	snprintf(text, sizeof(text), RECORD, id, id, "sold");
	ok(doubtful(vm, text), "an unknown state is unresolved");
	moves_write(&r, &why);
	chmod(path_of(vm, ".json"), 0666);
	ok(moves_read(vm, &got, &found, &why) != 0 && why.kind == FAIL_OWNER,
	   "a record that others can write is unresolved");
	unlink(path_of(vm, ".json"));
	ok(symlink("/dev/zero", path_of(vm, ".json")) == 0 &&
	   moves_read(vm, &got, &found, &why) != 0 && why.kind == FAIL_OWNER,
	   "a link is unresolved, and is not followed");

	struct move_record good = record(&other);

	moves_write(&good, &why);
	why.kind = FAIL_NONE;
	ok(moves_list(count_one, &n, &why) != 0 && why.kind == FAIL_OWNER && n == 1,
	   "a list gives the sound ones and tells of the damage");
	unlink(path_of(vm, ".json"));
	n = 0;
	ok(moves_list(count_one, &n, &why) == 0 && n == 1, "without damage it succeeds");
}

static void test_outcomes(struct uuid *vm)
{
	struct move_record *r = calloc(1, sizeof(*r)), *got = calloc(1, sizeof(*got));
	struct fail         why;
	struct uuid         moves[MOVES_OUTCOMES + 2];
	enum move_state     state;
	uint64_t            generation;
	bool                found, all = true;

	r->vm = *vm;
	for (unsigned i = 0; i < MOVES_OUTCOMES + 2; i++) {
		uuid_random(&moves[i], &why);
		moves_step(r, MOVE_READY, &moves[i], i, "host:1");
		moves_step(r, i % 2 ? MOVE_RETURNED : MOVE_OWNED, &moves[i], i + 1, r->peer);
		if (i < MOVES_OUTCOMES && r->noutcomes != i)
			all = false;
	}
	ok(all && r->noutcomes == MOVES_OUTCOMES,
	   "a new move keeps the outcome of the one before, and only that");
	ok(moves_write(r, &why) == 0 && moves_read(vm, got, &found, &why) == 0 && found &&
	   got->noutcomes == MOVES_OUTCOMES,
	   "a full list of outcomes is written and read");
	ok(!moves_find(got, &moves[0], &state, &generation), "the oldest has gone");
	for (unsigned i = 1; i < MOVES_OUTCOMES + 2; i++)
		if (!moves_find(got, &moves[i], &state, &generation) ||
		    state != (i % 2 ? MOVE_RETURNED : MOVE_OWNED) || generation != i + 1)
			all = false;
	ok(all, "every other is found with its outcome and generation");
	moves_step(got, MOVE_MOVING, &moves[0], 80, "host:2");
	moves_step(got, MOVE_RELEASED, &moves[0], 80, got->peer);
	moves_step(got, MOVE_RETAKEN, &moves[0], 80, got->peer);
	ok(got->noutcomes == MOVES_OUTCOMES &&
	   moves_find(got, &moves[MOVES_OUTCOMES + 1], &state, &generation) &&
	   state == MOVE_RETURNED &&
	   moves_find(got, &moves[0], &state, &generation) && state == MOVE_RETAKEN,
	   "steps of one move leave one outcome");
	moves_remove(vm, &why);
	free(r);
	free(got);
}

static void test_lock(struct uuid *vm)
{
	struct move_record  r = record(vm);
	struct moves_holder h;
	struct fail         why;
	int                 fd, other, status = 0, go[2];
	bool                held;
	char                want[40], c;

	ok(moves_held(vm, &held, NULL, &why) == 0 && !held, "a VM that nobody has claimed is free");
	ok(moves_lock(vm, "/run/web.sock", 0, &fd, &why) == 0, "a VM can be claimed");
	ok(moves_held(vm, &held, &h, &why) == 0 && held && h.pid == getpid() &&
	   h.start == moves_start_time(getpid()) && h.start &&
	   !strcmp(h.socket, "/run/web.sock"),
	   "who asks hears that it is held, by whom, and where that one answers");
	pid_t child = fork();

	if (child == 0) {
		snprintf(want, sizeof(want), "pid %ld", (long)getppid());
		_exit(moves_lock(vm, NULL, 0, &other, &why) != 0 && why.kind == FAIL_OWNER &&
		      strstr(why.what, want) ? 0 : 1);
	}
	waitpid(child, &status, 0);
	ok(status == 0, "another process is refused, and told by whom it is held");

	if (pipe(go))
		exit(1);
	child = fork();
	if (child == 0) {
		close(go[1]);
		status = moves_lock_adopt(vm, "/run/other.sock", fd, &why);
		while (read(go[0], &c, 1) > 0)
			;
		_exit(status ? 1 : 0);
	}
	close(go[0]);
	close(fd);
	do
		moves_held(vm, &held, &h, &why);
	while (held && h.pid != child);
	ok(held && h.pid == child && !strcmp(h.socket, "/run/other.sock"),
	   "a claim that was handed over outlives its first holder");
	close(go[1]);
	waitpid(child, &status, 0);
	ok(status == 0 && moves_held(vm, &held, NULL, &why) == 0 && !held,
	   "and ends with the last holder");

	int stranger = open(path_of(vm, ".lock"), O_RDWR | O_CREAT, 0600);

	ok(moves_lock(vm, NULL, 0, &fd, &why) == 0 &&
	   moves_lock_adopt(vm, "x", stranger, &why) != 0 && why.kind == FAIL_OWNER,
	   "a descriptor that does not hold the lock is no claim");
	close(stranger);
	moves_write(&r, &why);
	moves_unlock(vm, &fd);
	ok(access(path_of(vm, ".lock"), F_OK) == 0, "the lock's file stays with a record");
	ok(moves_lock(vm, NULL, 0, &fd, &why) == 0 && moves_remove(vm, &why) == 0,
	   "and can be taken again");
	moves_unlock(vm, &fd);
	ok(access(path_of(vm, ".lock"), F_OK) != 0 && fd == -1, "and goes with it");
}

int main(void)
{
	struct uuid vm;
	struct fail why;
	char        cmd[128];

	if (!mkdtemp(top) || uuid_random(&vm, &why))
		return 1;
	setenv("VMFERRY_STATE_DIR", top, 1);
	test_round_trip(&vm);
	test_damage(&vm);
	test_outcomes(&vm);
	test_lock(&vm);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd) || done_testing();
}
