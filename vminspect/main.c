/* SPDX-License-Identifier: MIT */
#include "vminspect/options.h"

#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int (*const main_commands[COMMANDS])(const struct args *a, struct fail *why) = {
	[COMMAND_INFO] = info_run, [COMMAND_TREE] = tree_run, [COMMAND_REGS] = regs_run,
	[COMMAND_MEM] = mem_run, [COMMAND_VERIFY] = verify_run,
};

int main(int argc, char **argv)
{
	struct args a   = { .file = NULL };
	struct fail why = { 0 };
	int         rc;

	if (io_standard_fds(&why))
		return fail_report("vminspect", &why);
	rc = main_commands[options_parse(&a, argc, argv)](&a, &why);
	/* What was found before a failure is printed before its message. */
	if ((fflush(stdout) || ferror(stdout)) && rc == 0)
		rc = fail_sys(&why, "standard output");
	return rc ? fail_report("vminspect", &why) : EXIT_SUCCESS;
}
