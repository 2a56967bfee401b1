/* SPDX-License-Identifier: MIT */
#include "vmsnap/inuse.h"

#include <stdio.h>
#include <string.h>

#define INUSE_MS 15000u

/* Paths are recorded as vmrun was given them: relative ones are relative to its working
 * directory. */
static int inuse_pid(struct control *c, long long *pid, struct fail *why)
{
	json_t *info;

	if (control_execute(c, "vmferry-info", NULL, &info, NULL, NULL, INUSE_MS, why))
		return -1;
	*pid = json_integer_value(json_object_get(info, "pid"));
	json_decref(info);
	return 0;
}

/* "" for a serial port that is not a file. */
static const char *inuse_path(const struct machine_host *h)
{
	if (h->cls != HOST_SERIAL)
		return h->path;
	return strncmp(h->path, "file:", 5) ? "" : h->path + 5;
}

int inuse_check(const struct publish *p, struct control *c, const struct machine *m,
		struct fail *why)
{
	long long pid;

	if (!p->replaces)
		return 0;
	if (inuse_pid(c, &pid, why))
		return -1;
	for (uint32_t i = 0; i < m->nhosts; i++) {
		const struct machine_host *h    = &m->hosts[i];
		const char                *path = inuse_path(h);
		char                       full[sizeof(h->path) + 40], what[2 * VM_NAME_MAX + 32];
		struct stat                st;

		if (!path[0])
			continue;
		if (path[0] == '/')
			snprintf(full, sizeof(full), "%s", path);
		else
			snprintf(full, sizeof(full), "/proc/%lld/cwd/%s", pid, path);
		snprintf(what, sizeof(what), "%s '%s' of %s", host_class_names[h->cls], h->name,
			 m->name);
		if (stat(full, &st) == 0 && publish_keep(p, &st, what, why))
			return -1;
	}
	return 0;
}
