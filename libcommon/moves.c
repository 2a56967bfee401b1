#include "libcommon/moves.h"

#include "libcommon/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOVES_FILE_MAX 8192u

const char *const move_state_names[MOVE_STATES] = {
	[MOVE_READY] = "ready", [MOVE_RELEASED] = "released", [MOVE_OWNED] = "owned", [MOVE_RETURNED] = "returned",
};

/* DIR/VMUUID and suffix. */
static int moves_path(char out[PATHS_MAX], const char *dir, const struct uuid *vm, const char *suffix, struct fail *why)
{
	char id[UUID_TEXT];

	uuid_text(vm, id);
	if (snprintf(out, PATHS_MAX, "%s/%s%s", dir, id, suffix) >= PATHS_MAX)
		return fail_set(why, FAIL_SYSTEM, "%s: path too long", dir);
	return 0;
}

static int moves_doubt(struct fail *why, const char *path, const char *what)
{
	return fail_set(why, FAIL_OWNER, "%s: %s: who owns this VM is in doubt; see vmmigrate resolve", path, what);
}

static bool moves_text(const json_t *j, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(j, key));

	if (!s || strlen(s) >= room)
		return false;
	memcpy(out, s, strlen(s) + 1);
	return true;
}

static bool moves_number(const json_t *j, const char *key, uint64_t *out)
{
	const json_t *n = json_object_get(j, key);

	if (!json_is_integer(n) || json_integer_value(n) < 0)
		return false;
	*out = (uint64_t)json_integer_value(n);
	return true;
}

static bool moves_decode(const json_t *j, struct move_record *r)
{
	char text[64];

	if (!moves_text(j, "vm", text, sizeof(text)) || !uuid_parse(&r->vm, text))
		return false;
	if (!moves_text(j, "move", text, sizeof(text)) || !uuid_parse(&r->move, text))
		return false;
	if (!moves_text(j, "name", r->name, sizeof(r->name)) || !moves_text(j, "peer", r->peer, sizeof(r->peer)))
		return false;
	if (!moves_number(j, "generation", &r->generation) || !moves_number(j, "when_ns", &r->when_ns))
		return false;
	if (!moves_text(j, "state", text, sizeof(text)))
		return false;
	for (int i = 0; i < MOVE_STATES; i++)
		if (!strcmp(text, move_state_names[i])) {
			r->state = (enum move_state)i;
			return true;
		}
	return false;
}

static int moves_read_at(const char *path, const struct uuid *vm, struct move_record *r, bool *found, struct fail *why)
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
		moves_doubt(why, path, "not a file that only we can write");
		goto out;
	}
	if (io_slurp(fd, &text, &len, MOVES_FILE_MAX, path, why)) {
		moves_doubt(why, path, "cannot be read whole");
		goto out;
	}
	j = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!moves_decode(j, &got) || !uuid_equal(&got.vm, vm)) {
		moves_doubt(why, path, "the record is damaged");
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
	char dir[PATHS_MAX], path[PATHS_MAX];

	*found = false;
	if (paths_moves(dir, false, why) || moves_path(path, dir, vm, ".json", why))
		return -1;
	return moves_read_at(path, vm, r, found, why);
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

/* The folder, made when it is missing; then the names of the new folders are on disk too. */
static int moves_folder(char dir[PATHS_MAX], struct fail *why)
{
	struct fail ignored;
	char        up[PATHS_MAX];

	if (paths_moves(dir, false, why))
		return -1;
	if (access(dir, F_OK) == 0)
		return paths_moves(dir, true, why);
	if (paths_moves(dir, true, why))
		return -1;
	snprintf(up, sizeof(up), "%s", dir);
	for (char *slash = strrchr(up, '/'); slash && slash > up; slash = strrchr(up, '/')) {
		*slash = '\0';
		moves_sync_folder(up, &ignored);     /* folders above ours may be nobody's to open: they are older then */
	}
	return 0;
}

static int moves_put(const char *tmp, const char *text, struct fail *why)
{
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = -1;

	if (fd < 0)
		return fail_sys(why, "%s", tmp);
	if (io_write(fd, text, strlen(text), tmp, why))
		goto out;
	if (fsync(fd)) {
		fail_sys(why, "%s: fsync", tmp);
		goto out;
	}
	rc = 0;
out:
	io_close(&fd);
	return rc;
}

int moves_write(const struct move_record *r, struct fail *why)
{
	char    dir[PATHS_MAX], path[PATHS_MAX], tmp[PATHS_MAX], vm[UUID_TEXT], move[UUID_TEXT];
	char   *text = NULL;
	json_t *j;
	int     rc = -1;

	if (r->generation > INT64_MAX || (unsigned)r->state >= MOVE_STATES)
		return fail_set(why, FAIL_LIMIT, "move record: generation %" PRIu64 " or state %d out of range", r->generation, (int)r->state);
	if (moves_folder(dir, why) || moves_path(path, dir, &r->vm, ".json", why) || moves_path(tmp, dir, &r->vm, ".new", why))
		return -1;
	uuid_text(&r->vm, vm);
	uuid_text(&r->move, move);
	j = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I}", "vm", vm, "move", move, "state", move_state_names[r->state],
		      "generation", (json_int_t)r->generation, "name", r->name, "peer", r->peer,
		      "when_ns", (json_int_t)io_realtime_ns());
	text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
	json_decref(j);
	if (!text)
		return fail_set(why, FAIL_USAGE, "move record: name or peer is no text");     /* not UTF-8 */
	if (moves_put(tmp, text, why)) {
		unlink(tmp);
		goto out;
	}
	if (rename(tmp, path)) {
		fail_sys(why, "%s: rename", path);
		unlink(tmp);
		goto out;
	}
	rc = moves_sync_folder(dir, why);
out:
	free(text);
	return rc;
}

int moves_remove(const struct uuid *vm, struct fail *why)
{
	char dir[PATHS_MAX], path[PATHS_MAX];

	if (paths_moves(dir, false, why) || moves_path(path, dir, vm, ".json", why))
		return -1;
	if (unlink(path)) {
		if (errno == ENOENT || errno == ENOTDIR)
			return 0;
		return fail_sys(why, "%s: remove", path);
	}
	return moves_sync_folder(dir, why);
}

/* Whoever has flocked a file that has lost its name meanwhile has locked nothing. */
static bool moves_lock_is(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int moves_lock(const struct uuid *vm, int *fd, struct fail *why)
{
	char dir[PATHS_MAX], path[PATHS_MAX], pid[24] = "";

	*fd = -1;
	if (moves_folder(dir, why) || moves_path(path, dir, vm, ".lock", why))
		return -1;
	for (;;) {
		*fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (*fd < 0)
			return fail_sys(why, "%s", path);
		if (flock(*fd, LOCK_EX | LOCK_NB)) {
			int sys = errno;

			if (sys == EWOULDBLOCK && pread(*fd, pid, sizeof(pid) - 1, 0) < 0)
				pid[0] = '\0';
			io_close(fd);
			if (sys == EWOULDBLOCK)
				return fail_set(why, FAIL_OWNER, "%s: held by process %ld, which has the say about this VM", path, atol(pid));
			errno = sys;
			return fail_sys(why, "%s: lock", path);
		}
		if (moves_lock_is(*fd, path))
			break;
		io_close(fd);
	}
	int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

	if (ftruncate(*fd, 0) || pwrite(*fd, pid, (size_t)n, 0) != n) {
		fail_sys(why, "%s: write", path);
		io_close(fd);
		return -1;
	}
	return 0;
}

void moves_unlock(const struct uuid *vm, int *fd)
{
	char        dir[PATHS_MAX], path[PATHS_MAX], record[PATHS_MAX];
	struct fail ignored;

	if (*fd < 0)
		return;
	if (paths_moves(dir, false, &ignored) == 0 && moves_path(path, dir, vm, ".lock", &ignored) == 0 &&
	    moves_path(record, dir, vm, ".json", &ignored) == 0 && access(record, F_OK) && moves_lock_is(*fd, path))
		unlink(path);
	io_close(fd);
}

int moves_list(int (*each)(void *arg, const struct move_record *r, struct fail *why), void *arg, struct fail *why)
{
	char           dir[PATHS_MAX], path[PATHS_MAX], id[UUID_TEXT];
	struct fail    damage = { 0 };
	struct dirent *e;
	DIR           *d;
	int            rc = -1;

	if (paths_moves(dir, false, why))
		return -1;
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : fail_sys(why, "%s", dir);
	while ((e = readdir(d))) {
		struct move_record r;
		struct uuid        vm;
		bool               found;

		if (strlen(e->d_name) != UUID_TEXT - 1 + strlen(".json") || strcmp(e->d_name + UUID_TEXT - 1, ".json"))
			continue;
		snprintf(id, sizeof(id), "%.*s", UUID_TEXT - 1, e->d_name);
		if (!uuid_parse(&vm, id))
			continue;
		if (moves_path(path, dir, &vm, ".json", why))
			goto out;
		if (moves_read_at(path, &vm, &r, &found, damage.kind ? &(struct fail){ 0 } : &damage))
			continue;
		if (found && each(arg, &r, why))
			goto out;
	}
	rc = 0;
	if (damage.kind) {
		*why = damage;
		rc   = -1;
	}
out:
	closedir(d);
	return rc;
}
