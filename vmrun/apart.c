/* SPDX-License-Identifier: MIT */
#include "vmrun/apart.h"

#include "libcommon/samefile.h"
#include "vmrun/host/chardev_spec.h"

#include <stdio.h>
#include <string.h>

int apart_from(const struct machine *m, const struct stat *file, const char *what, struct fail *why)
{
	for (uint32_t i = 0; i < m->nhosts; i++) {
		const struct machine_host *h = &m->hosts[i];
		const char                *path;
		struct stat                st;

		if (h->cls != HOST_SERIAL || chardev_spec(h->path, &path) != CHARDEV_FILE ||
		    stat(path, &st))
			continue;
		if (samefile(&st, file))
			return fail_set(why, FAIL_USAGE,
				"serial port '%s': %.160s is %.80s; name another file",
				h->name, path, what);
	}
	return 0;
}

int apart_from_hosts(const struct machine *m, struct fail *why)
{
	for (uint32_t i = 0; i < m->nhosts; i++) {
		const struct machine_host *h = &m->hosts[i];
		char                       what[VM_NAME_MAX + 32];
		struct stat                st;

		if (h->cls == HOST_SERIAL || !h->path[0] || stat(h->path, &st))
			continue;
		snprintf(what, sizeof(what), "%s '%s' of this VM", host_class_names[h->cls],
			 h->name);
		if (apart_from(m, &st, what, why))
			return -1;
	}
	return 0;
}
