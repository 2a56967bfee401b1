/* SPDX-License-Identifier: MIT */
#include "vmrun/commands/commands.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/paths.h"
#include "libcommon/text.h"
#include "libcommon/version.h"
#include "vmrun/accel/accel.h"
#include "vmrun/board/board.h"
#include "vmrun/devices/device_list.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static json_int_t info_cpus(const struct accel_ops *a, const struct board_ops *b)
{
	return a->cpus_max && a->cpus_max < b->cpus_max ? a->cpus_max : b->cpus_max;
}

static json_t *info_accelerators(void)
{
	json_t *list = json_array();

	for (const struct accel_ops *const *a = accel_list; *a; a++)
		for (int t = 0; t < MACHINE_TYPES; t++) {
			const struct board_ops *board = board_type((enum machine_type)t);
			struct fail why;
			char        text[400];
			bool        can = (*a)->probe((enum machine_type)t, &why) == 0;
			json_t     *one = json_pack("{s:s,s:s,s:b}", "name", (*a)->name,
						    "machine", machine_types[t].name,
						    "available", (int)can);

			if (can && board)
				json_object_set_new(one, "cpus",
						    json_integer(info_cpus(*a, board)));
			if (can && (*a)->info)
				(*a)->info(one);
			if (!can)
				json_object_set_new(one, "reason",
						    text_json(fail_text(&why, text, sizeof(text))));
			json_array_append_new(list, one);
		}
	return list;
}

/* As a pager opens it: by the syscall, else by the device. */
static const char *info_userfaultfd(void)
{
#ifdef UFFD_USER_MODE_ONLY
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0) {
		close(fd);
		return "yes";
	}
	if (access("/dev/userfaultfd", R_OK | W_OK) == 0)
		return "by /dev/userfaultfd";
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd >= 0) {
		close(fd);
		return "user mode only";
	}
#endif
	return "no";
}

static const char *info_file(const char *path)
{
	if (access(path, R_OK | W_OK) == 0)
		return "yes";
	return access(path, F_OK) == 0 ? "no access" : "no";
}

static json_t *info_host(void)
{
	char        runtime[PATHS_MAX], moves[PATHS_MAX], text[400];
	struct fail why;
	json_t     *host = json_pack("{s:s,s:s,s:I,s:I}", "kvm-device", info_file("/dev/kvm"),
				     "userfaultfd", info_userfaultfd(),
				     "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
				     "memory",
				     (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));

	if (paths_runtime(runtime, false, &why) == 0)
		json_object_set_new(host, "runtime-folder", text_json(runtime));
	else
		json_object_set_new(host, "runtime-folder-missing",
				    text_json(fail_text(&why, text, sizeof(text))));
	if (paths_moves(moves, false, &why) == 0)
		json_object_set_new(host, "moves-folder", text_json(moves));
	else
		json_object_set_new(host, "moves-folder-missing",
				    text_json(fail_text(&why, text, sizeof(text))));
	return host;
}

static json_t *info_limits(void)
{
	return json_pack("{s:i,s:i,s:I,s:i}", "devices", (int)LIMIT_DEVICES,
			 "regions", (int)LIMIT_REGIONS,
			 "region-bytes", (json_int_t)LIMIT_REGION_BYTES,
			 "tree-bytes", (int)LIMIT_TREE_BYTES);
}

static json_t *info_devices(void)
{
	json_t *list = json_array();

	for (const struct device_ops *const *d = device_types; *d; d++)
		json_array_append_new(list, json_string((*d)->type));
	return list;
}

static json_t *info_all(void)
{
	return json_pack("{s:s,s:i,s:o,s:o,s:o,s:o}", "version", VMFERRY_VERSION,
			 "snapshot-format", (int)SNAP_VERSION, "accelerators", info_accelerators(),
			 "devices", info_devices(), "limits", info_limits(), "host", info_host());
}

static void info_object(const json_t *object, int indent)
{
	const char *key;
	json_t     *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value) {
		if (json_is_string(value))
			printf("%*s%-*s %s\n", indent, "", 26 - indent, key,
			       json_string_value(value));
		else
			printf("%*s%-*s %" JSON_INTEGER_FORMAT "\n", indent, "", 26 - indent, key,
			       json_integer_value(value));
	}
}

/* What the accelerator itself has added. */
static void info_accelerator_more(json_t *one)
{
	static const char *const ours[] = { "name", "machine", "available", "cpus", "reason" };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		json_object_del(one, ours[i]);
	info_object(one, 4);
}

static void info_text(const json_t *all)
{
	size_t  i;
	json_t *one;

	printf("vmferry %s, snapshot format %d\n",
	       json_string_value(json_object_get(all, "version")), (int)SNAP_VERSION);
	printf("accelerators\n");
	json_array_foreach(json_object_get(all, "accelerators"), i, one) {
		const char *reason = json_string_value(json_object_get(one, "reason"));

		printf("  %-6s %-12s ", json_string_value(json_object_get(one, "name")),
		       json_string_value(json_object_get(one, "machine")));
		if (reason)
			printf("no: %s\n", reason);
		else
			printf("yes, 1 to %" JSON_INTEGER_FORMAT " CPUs\n",
			       json_integer_value(json_object_get(one, "cpus")));
		info_accelerator_more(one);
	}
	printf("devices\n ");
	json_array_foreach(json_object_get(all, "devices"), i, one)
		printf(" %s", json_string_value(one));
	printf("\nlimits\n");
	info_object(json_object_get(all, "limits"), 2);
	printf("host\n");
	info_object(json_object_get(all, "host"), 2);
}

int info_main(bool as_json)
{
	struct fail why;
	json_t *all = info_all();

	if (!all) {
		fail_set(&why, FAIL_SYSTEM, "out of memory");
		return fail_report("vmrun info", &why);
	}
	if (as_json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		info_text(all);
	}
	json_decref(all);
	if (fflush(stdout) || ferror(stdout)) {
		fail_sys(&why, "standard output");
		return fail_report("vmrun info", &why);
	}
	return 0;
}
