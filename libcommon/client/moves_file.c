/* SPDX-License-Identifier: MIT */
#include "libcommon/client/moves.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Large enough for a full list of outcomes. */
#define MOVES_FILE_MAX (64u << 10)

static int moves_doubt(struct fail *why, const char *path, const char *what)
{
	return fail_set(why, FAIL_OWNER,
			"%s: %s: ownership of the VM is unresolved; see vmmigrate resolve", path,
			what);
}

/* Faults of one step of the write of one state: "moves.owned.fsync-folder". */
static bool moves_fault(enum move_state state, const char *step)
{
	char point[64];

	snprintf(point, sizeof(point), "moves.%s.%s", move_state_names[state], step);
	if (!fault_hit(point))
		return false;
	errno = EIO;
	return true;
}

static void moves_fault_point(enum move_state state, const char *step)
{
	char point[64];

	snprintf(point, sizeof(point), "moves.%s.%s", move_state_names[state], step);
	fault_point(point);
}

static int moves_sync_folder(const char *dir, struct fail *why)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || fsync(fd))
		rc = fail_sys(why, "%s: fsync", dir);
	io_close(&fd);
	return rc;
}

/* The folder of records. make: creates it when it is missing, and fsyncs the folders above, so that
 * a record in it is not lost with its folder. */
static int moves_folder(char dir[PATHS_MAX], bool make, struct fail *why)
{
	struct fail ignored;
	char        up[PATHS_MAX];

	if (paths_moves(dir, false, why))
		return -1;
	if (!make)
		return 0;
	if (access(dir, F_OK) == 0)
		return paths_moves(dir, true, why);
	if (paths_moves(dir, true, why))
		return -1;
	snprintf(up, sizeof(up), "%s", dir);
	for (char *slash = strrchr(up, '/'); slash && slash > up; slash = strrchr(up, '/')) {
		*slash = '\0';
		/* A folder above ours may not be ours to open: it existed before, then. */
		moves_sync_folder(up, &ignored);
	}
	return 0;
}

int moves_path(char out[PATHS_MAX], const struct uuid *vm, const char *suffix, bool make,
	       struct fail *why)
{
	char dir[PATHS_MAX], id[UUID_TEXT];

	if (moves_folder(dir, make, why))
		return -1;
	uuid_text(vm, id);
	if (snprintf(out, PATHS_MAX, "%s/%s%s", dir, id, suffix) >= PATHS_MAX)
		return fail_set(why, FAIL_SYSTEM, "%s: path too long", dir);
	return 0;
}

/* ---- reading ---- */

static int moves_read_at(const char *path, const struct uuid *vm, struct move_record *r,
			 bool *found, struct fail *why)
{
	struct move_record got = { 0 };
	struct stat        st;
	uint8_t           *text = NULL;
	size_t             len;
	json_t            *j  = NULL;
	int                rc = -1;
	int                fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	*found = false;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0 || fstat(fd, &st)) {
		moves_doubt(why, path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022)) {
		moves_doubt(why, path, "not a private regular file owned by this user");
		goto out;
	}
	if (io_slurp(fd, &text, &len, MOVES_FILE_MAX, path, why)) {
		moves_doubt(why, path, "cannot be read completely");
		goto out;
	}
	j = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!moves_parse(j, &got) || !uuid_equal(&got.vm, vm)) {
		moves_doubt(why, path, "malformed record");
		goto out;
	}
	*r     = got;
	*found = true;
	rc     = 0;
out:
	json_decref(j);
	free(text);
	io_close(&fd);
	return rc;
}

int moves_read(const struct uuid *vm, struct move_record *r, bool *found, struct fail *why)
{
	char path[PATHS_MAX];

	*found = false;
	if (moves_path(path, vm, ".json", false, why))
		return -1;
	return moves_read_at(path, vm, r, found, why);
}

int moves_read_synced(const struct uuid *vm, struct move_record *r, bool *found, struct fail *why)
{
	char path[PATHS_MAX], dir[PATHS_MAX];
	int  fd, rc;

	if (moves_read(vm, r, found, why))
		return -1;
	if (!*found)
		return 0;
	if (moves_path(path, vm, ".json", false, why) || paths_moves(dir, false, why))
		return -1;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	rc = fd < 0 || fsync(fd) ? fail_sys(why, "%s: fsync", path) : moves_sync_folder(dir, why);
	io_close(&fd);
	return rc;
}

/* Is this folder entry a record? Then *vm is its VM. */
static bool moves_entry(const char *name, struct uuid *vm)
{
	char id[UUID_TEXT];

	if (strlen(name) != UUID_TEXT - 1 + strlen(".json") ||
	    strcmp(name + UUID_TEXT - 1, ".json"))
		return false;
	snprintf(id, sizeof(id), "%.*s", UUID_TEXT - 1, name);
	return uuid_parse(vm, id);
}

int moves_list(int (*each)(void *arg, const struct move_record *r, struct fail *why), void *arg,
	       struct fail *why)
{
	struct fail         damage = { 0 };
	struct move_record *r      = malloc(sizeof(*r));
	char                dir[PATHS_MAX];
	struct dirent      *e;
	DIR                *d  = NULL;
	int                 rc = -1;

	if (!r) {
		errno = ENOMEM;
		fail_sys(why, "records of moves");
		goto out;
	}
	if (paths_moves(dir, false, why))
		goto out;
	d = opendir(dir);
	if (!d) {
		rc = errno == ENOENT ? 0 : fail_sys(why, "%s", dir);
		goto out;
	}
	while ((e = readdir(d))) {
		struct uuid vm;
		bool        found;

		if (!moves_entry(e->d_name, &vm) ||
		    moves_read(&vm, r, &found, damage.kind ? &(struct fail){ 0 } : &damage))
			continue;
		if (found && each(arg, r, why))
			goto out;
	}
	rc = 0;
	if (damage.kind) {
		*why = damage;
		rc   = -1;
	}
out:
	if (d)
		closedir(d);
	free(r);
	return rc;
}

/* ---- writing ---- */

static int moves_put(const char *tmp, const char *text, enum move_state state, struct fail *why)
{
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = -1;

	if (fd < 0)
		return fail_sys(why, "%s", tmp);
	if (moves_fault(state, "write")) {
		fail_sys(why, "%s: write", tmp);
		goto out;
	}
	if (io_write(fd, text, strlen(text), tmp, why))
		goto out;
	if (moves_fault(state, "fsync") || fsync(fd)) {
		fail_sys(why, "%s: fsync", tmp);
		goto out;
	}
	rc = 0;
out:
	io_close(&fd);
	return rc;
}

/* Puts the text in place by rename; the folder is fsynced last, so that a record whose write was
 * reported as done survives a power cut. */
static int moves_replace(const struct move_record *r, const char *text, struct fail *why)
{
	char dir[PATHS_MAX], path[PATHS_MAX], tmp[PATHS_MAX];

	if (moves_folder(dir, true, why) || moves_path(path, &r->vm, ".json", false, why) ||
	    moves_path(tmp, &r->vm, ".new", false, why))
		return -1;
	if (moves_put(tmp, text, r->state, why)) {
		unlink(tmp);
		return -1;
	}
	if (moves_fault(r->state, "rename") || rename(tmp, path)) {
		fail_sys(why, "%s: rename", path);
		unlink(tmp);
		return -1;
	}
	moves_fault_point(r->state, "renamed");
	if (moves_fault(r->state, "fsync-folder"))
		return fail_sys(why, "%s: fsync", dir);
	return moves_sync_folder(dir, why);
}

int moves_write(const struct move_record *r, struct fail *why)
{
	struct move_record now = *r;
	json_t            *j;
	char              *text;
	int                rc;

	if (r->generation > INT64_MAX || (unsigned)r->state >= MOVE_STATES)
		return fail_set(why, FAIL_LIMIT,
				"move record: generation %" PRIu64 " or state %d out of range",
				r->generation, (int)r->state);
	now.when_ns = io_realtime_ns();
	j    = moves_json(&now);
	text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
	json_decref(j);
	if (!text)
		return fail_set(why, FAIL_USAGE, "move record: name or peer is not UTF-8 text");
	rc = moves_replace(r, text, why);
	free(text);
	return rc;
}

int moves_remove(const struct uuid *vm, struct fail *why)
{
	char dir[PATHS_MAX], path[PATHS_MAX];

	if (paths_moves(dir, false, why) || moves_path(path, vm, ".json", false, why))
		return -1;
	if (unlink(path)) {
		if (errno == ENOENT || errno == ENOTDIR)
			return 0;
		return fail_sys(why, "%s: remove", path);
	}
	return moves_sync_folder(dir, why);
}
