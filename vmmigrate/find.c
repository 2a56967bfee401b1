#include "vmmigrate/find.h"

#include "libcommon/io.h"
#include "libcommon/moves.h"
#include "libcommon/paths.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIND_TIMEOUT_MS 10000u
#define FIND_LEASE_NS   1000000000u

/* Does anything listen at the socket? control_open() says the same of a dead VM and of one that is stuck. */
static enum found find_listener(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	enum found         f  = FOUND_ALIVE;
	int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return FOUND_DOUBT;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)))
		f = errno == ENOENT || errno == ENOTDIR || errno == ECONNREFUSED ? FOUND_NONE : FOUND_DOUBT;
	close(fd);
	return f;
}

int find_identity(struct control *c, struct uuid *vm, char name[VM_NAME_MAX + 1], struct fail *why)
{
	json_t *ret = NULL;
	bool    ok;

	if (control_execute(c, "query-uuid", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	const char *text = json_string_value(json_object_get(ret, "UUID"));

	ok = text && uuid_parse(vm, text);
	json_decref(ret);
	if (!ok)
		return fail_set(why, FAIL_PEER, "query-uuid: no UUID in the answer");
	if (!name)
		return 0;
	ret = NULL;
	if (control_execute(c, "query-name", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	const char *s = json_string_value(json_object_get(ret, "name"));

	ok = s && paths_name_ok(s);
	if (ok)
		snprintf(name, VM_NAME_MAX + 1, "%s", s);
	json_decref(ret);
	return ok ? 0 : fail_set(why, FAIL_PEER, "query-name: no name in the answer");
}

/* The VM behind one socket: FOUND_NONE also when another VM is there. */
static enum found find_at(const char *path, const struct uuid *vm, struct control **c, struct fail *why)
{
	struct control *mine = NULL;
	struct uuid     got;
	enum found      f = find_listener(path);

	if (f == FOUND_DOUBT)
		fail_set(why, FAIL_OWNER, "%s: does not take connections", path);
	if (f != FOUND_ALIVE)
		return f;
	if (control_open(&mine, path, why) || find_identity(mine, &got, NULL, why)) {
		control_close(mine);
		/* It may have ended while we asked. */
		return find_listener(path) == FOUND_NONE ? FOUND_NONE : FOUND_DOUBT;
	}
	if (!uuid_equal(vm, &got) || !c) {
		control_close(mine);
		return uuid_equal(vm, &got) ? FOUND_ALIVE : FOUND_NONE;
	}
	*c = mine;
	return FOUND_ALIVE;
}

/* Calls each for every control socket of the runtime folder until it returns true. */
static bool find_each(bool (*each)(void *arg, const char *path), void *arg)
{
	char           dir[PATHS_MAX], path[PATHS_MAX + 256];
	struct fail    ignored;
	struct dirent *e;
	bool           done = false;
	DIR           *d = paths_runtime(dir, false, &ignored) ? NULL : opendir(dir);

	while (d && !done && (e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (n <= 5 || strcmp(e->d_name + n - 5, ".sock"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		done = strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path) && each(arg, path);
	}
	if (d)
		closedir(d);
	return done;
}

struct find_uuid { const struct uuid *vm; struct control **c; };

static bool find_uuid_each(void *arg, const char *path)
{
	struct find_uuid *u = arg;
	struct fail       ignored;

	return find_at(path, u->vm, u->c, &ignored) == FOUND_ALIVE;
}

enum found find_vm(const struct uuid *vm, const char *name, const char *socket, struct control **c, struct fail *why)
{
	char             path[PATHS_MAX];
	struct find_uuid u = { .vm = vm, .c = c };
	enum found       f = FOUND_NONE;

	if (c)
		*c = NULL;
	if (socket && (f = find_at(socket, vm, c, why)) != FOUND_NONE)
		return f;
	if (paths_name_ok(name) && paths_socket(path, name, false, why) == 0 && (f = find_at(path, vm, c, why)) != FOUND_NONE)
		return f;
	/* Under another name: only one that answers counts, any other may be anybody's. */
	return find_each(find_uuid_each, &u) ? FOUND_ALIVE : FOUND_NONE;
}

struct find_record { const char *name; struct move_record r; unsigned n; };

static int find_record_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct find_record *f = arg;

	(void)why;
	if (!strcmp(r->name, f->name)) {
		f->r = *r;
		f->n++;
	}
	return 0;
}

/* By UUID: a live VM, or a record. */
static int find_by_uuid(struct uuid *vm, char name[VM_NAME_MAX + 1], struct control **c, struct fail *why)
{
	struct move_record r = { 0 };
	struct uuid        got;
	bool               found;

	if (moves_read(vm, &r, &found, why))
		return -1;
	if (find_vm(vm, found ? r.name : "", NULL, c, why) == FOUND_ALIVE)
		return find_identity(*c, &got, name, why);
	if (!found) {
		char text[UUID_TEXT];

		uuid_text(vm, text);
		return fail_set(why, FAIL_PEER, "%s: no such VM runs here, and no record tells of one", text);
	}
	snprintf(name, VM_NAME_MAX + 1, "%s", r.name);
	return 0;
}

int find_operand(const char *operand, struct uuid *vm, char name[VM_NAME_MAX + 1], struct control **c, struct fail *why)
{
	struct find_record f = { .name = operand };
	struct fail        lists, open;

	*c = NULL;
	if (uuid_parse(vm, operand))
		return find_by_uuid(vm, name, c, why);
	if (control_open(c, operand, &open) == 0) {
		if (find_identity(*c, vm, name, why) == 0)
			return 0;
		control_close(*c);
		*c = NULL;
		return -1;
	}
	if (strchr(operand, '/') || !paths_name_ok(operand)) {
		*why = open;
		return -1;
	}
	int rc = moves_list(find_record_each, &f, &lists);

	if (f.n > 1)
		return fail_set(why, FAIL_USAGE, "%s: records of %u VMs have that name; name one by its UUID", operand, f.n);
	if (f.n == 0) {
		*why = rc ? lists : open;
		return -1;
	}
	*vm = f.r.vm;
	snprintf(name, VM_NAME_MAX + 1, "%s", f.r.name);
	return find_vm(vm, name, NULL, c, why) == FOUND_DOUBT ? -1 : 0;
}

int find_holder(struct control *c, const char *holder, bool *held, struct fail *why)
{
	json_t *ret = NULL, *h;
	size_t  i;

	*held = false;
	if (control_execute(c, "query-status", NULL, &ret, NULL, NULL, FIND_TIMEOUT_MS, why))
		return -1;
	json_array_foreach(json_object_get(ret, "vmferry-holders"), i, h)
		if (json_is_string(h) && !strcmp(json_string_value(h), holder))
			*held = true;
	json_decref(ret);
	return 0;
}

int find_lease(struct lease **out, struct control *c, enum lease_kind kind, struct fail *why)
{
	uint64_t until = io_now_ns() + FIND_LEASE_NS;
	char     holder[48];

	snprintf(holder, sizeof(holder), "vmmigrate[%ld]", (long)getpid());
	while (lease_open(out, c, kind, holder, why)) {
		if (io_now_ns() >= until)
			return -1;
		poll(NULL, 0, 20);
	}
	return 0;
}
