/* SPDX-License-Identifier: MIT */
#include "vminspect/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int (*const main_commands[COMMANDS])(const struct args *a, struct fail *why) = {
	[COMMAND_INFO] = info_run, [COMMAND_TREE] = tree_run, [COMMAND_REGS] = regs_run,
	[COMMAND_MEM] = mem_run, [COMMAND_VERIFY] = verify_run,
};

/* A closed standard descriptor would be opened as something else, and written to. What is opened
 * here as standard output cannot be written: a tool that prints then fails. */
static int main_standard_files(struct fail *why)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) == -1 &&
		    open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) != fd)
			return fail_sys(why, "/dev/null");
	return 0;
}

int main(int argc, char **argv)
{
	struct args a   = { .file = NULL };
	struct fail why = { 0 };
	int         rc;

	if (main_standard_files(&why))
		return fail_report("vminspect", &why);
	rc = main_commands[options_parse(&a, argc, argv)](&a, &why);
	/* What was found before a failure is printed before its message. */
	if ((fflush(stdout) || ferror(stdout)) && rc == 0)
		rc = fail_sys(&why, "standard output");
	return rc ? fail_report("vminspect", &why) : EXIT_SUCCESS;
}
