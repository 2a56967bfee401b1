/* SPDX-License-Identifier: MIT */
#include "vminspect/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct command commands[] = {
	{ .name = "info",   .run = info_run,   .operands = "[FILE]", .help = "machine, devices, memory, host resources, digests" },
	{ .name = "tree",   .run = tree_run,   .operands = "[--config] [--dtb OUT [--force]] [FILE]", .takes = TAKES_CONFIG | TAKES_DTB,
	  .help = "the VM tree, configuration and state" },
	{ .name = "regs",   .run = regs_run,   .operands = "[FILE]", .help = "registers of every CPU" },
	{ .name = "mem",    .run = mem_run,    .operands = "[--raw] GPA [LEN] [FILE]", .takes = TAKES_RAW | TAKES_RANGE,
	  .help = "guest memory at GPA (default LEN: 256 bytes)" },
	{ .name = "verify", .run = verify_run, .operands = "[FILE]",
	  .help = "check structure, checksums and digests" },
	{ .name = NULL },
};

/* What was closed would be opened as something else, and written to. Standard output can't be written then. */
static int main_standard_files(struct fail *why)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) != fd)
			return fail_sys(why, "/dev/null");
	return 0;
}

int main(int argc, char **argv)
{
	struct args           a   = { .file = NULL };
	struct fail           why = { 0 };
	const struct command *c;
	int                   rc;

	if (main_standard_files(&why))
		return fail_report("vminspect", &why);
	c  = options_parse(&a, argc, argv);
	rc = c->run(&a, &why);
	/* What was found before a failure is printed before its message. */
	if ((fflush(stdout) || ferror(stdout)) && rc == 0)
		rc = fail_sys(&why, "standard output");
	return rc ? fail_report("vminspect", &why) : EXIT_SUCCESS;
}
