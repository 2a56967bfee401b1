/* SPDX-License-Identifier: MIT */
#include "vminspect/input.h"

#include "libcommon/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int input_open(struct input *s, const char *operand, struct fail *why)
{
	bool        standard = !operand || strcmp(operand, "-") == 0;
	struct stat st;

	*s = (struct input){ .fd = -1 };
	snprintf(s->what, sizeof(s->what), "%s", standard ? "standard input" : operand);
	if (standard && isatty(STDIN_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard input is a terminal: specify FILE, or redirect it");
	s->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
			 : open(operand, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (s->fd < 0 || fstat(s->fd, &st)) {
		fail_sys(why, "%s", s->what);
		goto failed;
	}
	s->file = S_ISREG(st.st_mode) && lseek(s->fd, 0, SEEK_CUR) == 0;
	if (snap_header_load(s->fd, s->what, !standard, "vminspect COMMAND", s->header, why))
		goto failed;
	if (snap_header_read(&s->h, s->header, why)) {
		fail_prefix(why, "%s: ", s->what);
		if (why->kind == FAIL_VERSION)
			return -1;
		goto failed;
	}
	return 0;
failed:
	input_close(s);
	return -1;
}

void input_close(struct input *s)
{
	io_close(&s->fd);
}
