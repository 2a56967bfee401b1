/* SPDX-License-Identifier: MIT */
#include "vmrun/commands/commands.h"

#include "libcommon/client/control.h"
#include "libcommon/paths.h"
#include "libcommon/text.h"
#include "vmrun/control/server.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_TIMEOUT_MS 5000u

/* The name in NAME.sock; false for any other file name. */
static bool list_name(const char *file, char name[VM_NAME_MAX + 1])
{
	size_t n = strlen(file);

	if (n < 6 || n - 5 > VM_NAME_MAX || strcmp(file + n - 5, ".sock"))
		return false;
	memcpy(name, file, n - 5);
	name[n - 5] = '\0';
	return paths_name_ok(name);
}

/* What one VM answers, or {"name", "status": "stale" or "silent"}. */
static json_t *list_vm(const char *name)
{
	struct control *c      = NULL;
	json_t         *info   = NULL, *status = NULL;
	struct fail     why    = { 0 };
	char            path[PATHS_MAX];
	bool            live;
	bool            spoken = control_open(&c, name, &why) == 0 &&
				 control_execute(c, "vmferry-info", NULL, &info, NULL, NULL,
						 LIST_TIMEOUT_MS, &why) == 0 &&
				 control_execute(c, "query-status", NULL, &status, NULL, NULL,
						 LIST_TIMEOUT_MS, &why) == 0;

	control_close(c);
	if (spoken) {
		json_object_set(info, "status", json_object_get(status, "status"));
		json_object_set(info, "holders", json_object_get(status, "vmferry-holders"));
		json_object_set(info, "lease", json_object_get(status, "vmferry-lease"));
		json_object_set(info, "boot", json_object_get(status, "vmferry-boot"));
		json_decref(status);
		return info;
	}
	json_decref(info);
	json_decref(status);
	/* silent: its lock is taken, by a process that is stopped, starting or ending. stale:
	 * nobody has the lock, the socket was left behind. */
	live = paths_socket(path, name, false, &(struct fail){ 0 }) == 0 && socket_is_live(path);
	return json_pack("{s:s, s:s, s:o}", "name", name, "status", live ? "silent" : "stale",
			 "note", text_json(why.what));
}

static int list_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in the runtime folder, sorted, each malloc'd. A missing folder has none. */
static int list_names(const char *dir, char ***out, size_t *count, struct fail *why)
{
	struct dirent *e;
	char         **names = NULL;
	size_t         n     = 0;
	DIR           *d     = opendir(dir);

	if (!d && errno != ENOENT)
		return fail_sys(why, "%s", dir);
	while (d && (e = readdir(d))) {
		char   name[VM_NAME_MAX + 1];
		char **more;

		if (!list_name(e->d_name, name))
			continue;
		more = realloc(names, (n + 1) * sizeof(*names));
		if (!more)
			break;
		names    = more;
		names[n] = strdup(name);
		if (!names[n])
			break;
		n++;
	}
	if (d)
		closedir(d);
	if (n)
		qsort(names, n, sizeof(*names), list_compare);
	*out   = names;
	*count = n;
	return 0;
}

static const char *list_text(const json_t *vm, const char *key)
{
	const char *s = json_string_value(json_object_get(vm, key));

	return s ? s : "-";
}

static void list_row(const json_t *vm)
{
	char memory[32] = "-", pid[24] = "-", cpus[16] = "-";

	if (json_object_get(vm, "pid")) {
		snprintf(memory, sizeof(memory), "%" PRIu64 "M",
			 (uint64_t)json_integer_value(json_object_get(vm, "memory")) >> 20);
		snprintf(pid, sizeof(pid), "%lld",
			 (long long)json_integer_value(json_object_get(vm, "pid")));
		snprintf(cpus, sizeof(cpus), "%lld",
			 (long long)json_integer_value(json_object_get(vm, "cpus")));
	}
	printf("%-20s %8s %-15s %4s %8s %-6s %s\n", list_text(vm, "name"), pid,
	       list_text(vm, "status"), cpus, memory, list_text(vm, "accel"),
	       list_text(vm, "uuid"));
}

static void list_print(const json_t *vms, bool json)
{
	size_t  i;
	json_t *vm;

	if (json) {
		json_dumpf(vms, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	if (json_array_size(vms))
		printf("%-20s %8s %-15s %4s %8s %-6s %s\n", "NAME", "PID", "STATUS", "CPUS",
		       "MEMORY", "ACCEL", "UUID");
	json_array_foreach(vms, i, vm)
		list_row(vm);
}

int list_main(bool json)
{
	struct fail why = { 0 };
	char        dir[PATHS_MAX];
	char      **names = NULL;
	size_t      n     = 0;
	json_t     *vms;

	if (paths_runtime(dir, false, &why) || list_names(dir, &names, &n, &why))
		return fail_report("vmrun", &why);
	vms = json_array();
	for (size_t i = 0; i < n; i++) {
		json_array_append_new(vms, list_vm(names[i]));
		free(names[i]);
	}
	free(names);
	list_print(vms, json);
	json_decref(vms);
	if (fflush(stdout) || ferror(stdout)) {
		fail_sys(&why, "standard output");
		return fail_report("vmrun", &why);
	}
	return 0;
}
