/* SPDX-License-Identifier: MIT */
#include "libcommon/fault.h"

#ifdef VMFERRY_FAULTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Copies the action of a point in $VMFERRY_FAULT to action; false when it is not named. */
static bool fault_find(const char *point, char *action, size_t capacity)
{
	const char *all = getenv("VMFERRY_FAULT");
	size_t      n   = strlen(point);

	for (const char *p = all; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
		if (strncmp(p, point, n) || p[n] != '=')
			continue;
		snprintf(action, capacity, "%.*s", (int)strcspn(p + n + 1, ","), p + n + 1);
		return true;
	}
	return false;
}

static void fault_hold(const char *file)
{
	char held[520];

	snprintf(held, sizeof(held), "%s.held", file);
	while (access(file, F_OK) == 0) {
		int fd = open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		if (fd >= 0)
			close(fd);
		usleep(10000);
	}
}

void fault_point(const char *point)
{
	char action[512];

	if (!fault_find(point, action, sizeof(action)))
		return;
	if (!strcmp(action, "kill"))
		kill(getpid(), SIGKILL);
	if (!strncmp(action, "hold:", 5)) {
		fault_hold(action + 5);
		return;
	}
	bool stop = !strncmp(action, "stop:", 5), wait = !strncmp(action, "wait:", 5);

	if (!stop && !wait)
		return;
	int fd = open(action + 5, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)      /* the file exists: this point was reached before */
		return;
	close(fd);
	while (stop || access(action + 5, F_OK) == 0)
		usleep(10000);
}

bool fault_hit(const char *point)
{
	char action[512];

	if (!fault_find(point, action, sizeof(action)))
		return false;
	return !strcmp(action, "hit") ||
	       (!strncmp(action, "hit:", 4) && access(action + 4, F_OK) == 0);
}

#else
typedef int fault_nothing;     /* C requires a declaration */
#endif
