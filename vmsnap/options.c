/* SPDX-License-Identifier: MIT */
#include "vmsnap/options.h"

#include "libcommon/client/copy_options.h"
#include "libcommon/publish.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Octal, as chmod has it: read and write bits only, and the owner can read it in any case. */
static int options_mode(void *target, const char *text, struct fail *why)
{
	size_t n    = strspn(text, "01234567");
	long   mode = n && n < 8 && !text[n] ? strtol(text, NULL, 8) : -1;

	(void)why;
	if (mode < 0 || mode & ~0666 || !(mode & S_IRUSR))
		return -1;
	*(mode_t *)target = (mode_t)mode;
	return 0;
}

static const struct option_row options_rows[] = {
	OPT_GROUP("Copying"),
	COPY_ROWS(struct options, 0, "50ms", "10s"),
	{ OPT_SIZE(struct options, pause_buffer, 0, (uint64_t)1 << 40), .name = "pause-buffer",
	  .arg = "SIZE", .preset = "256M",
	  .help = "memory for pages copied during the pause" },
	OPT_GROUP("The snapshot"),
	{ OPT_FLAG(struct options, with_images), .name = "with-images", .excludes = "state-only",
	  .help = "include kernel and initrd, for a restore without their files" },
	{ OPT_FLAG(struct options, state_only), .name = "state-only",
	  .help = "save configuration and device state only, no memory" },
	{ OPT_FLAG(struct options, stop_after), .name = "stop-after",
	  .help = "quit the VM when the snapshot is on disk; --pause-deadline is then 10m unless "
		  "given" },
	{ OPT_FLAG(struct options, force), .name = "force", .help = "overwrite FILE if it exists" },
	{ OPT_SET(struct options, mode, mode_t, options_mode), .name = "mode", .arg = "MODE",
	  .preset = "0400", .valid = "octal, read and write bits, such as 0440",
	  .help = "mode of FILE, octal: guest memory holds secrets" },
	OPT_GROUP("Output"),
	COPY_REPORT_ROWS(struct options, 0),
	OPT_END
};

static const struct option_command options_commands[] = {
	{ "", "VM [FILE]", "save a running VM" },
	{ NULL, NULL, NULL },
};

static const struct option_table options_table = {
	.tool = "vmsnap", .usage = "[OPTION]... VM [FILE]",
	.commands = options_commands, .rows = options_rows,
	.about = "Saves the running virtual machine VM to FILE, or to standard output.",
};

void options_parse(struct options *o, int argc, char **argv)
{
	struct option_parsed p;
	struct fail          why;

	*o = (struct options){ 0 };
	if (option_parse(&options_table, o, argc, argv, &p, &why))
		option_refuse(&options_table, &why);
	option_act(&options_table, &p);
	if (o->quiet)
		o->progress = PROGRESS_NONE;
	/* The pause then lasts until everything is on disk: the deadline bounds a single write. */
	if (o->stop_after && !option_given(&options_table, &p, "pause-deadline"))
		o->pause_deadline_ns = 600 * OPTION_S;
	o->vm   = p.operands[0];
	o->file = p.noperands == 2 && !publish_standard(p.operands[1]) ? p.operands[1] : NULL;
	if (!o->file && (o->force || option_given(&options_table, &p, "mode"))) {
		fail_set(&why, FAIL_USAGE, "--%s requires FILE", o->force ? "force" : "mode");
		option_refuse(&options_table, &why);
	}
	if (!o->file && isatty(STDOUT_FILENO)) {
		fail_set(&why, FAIL_USAGE,
				"standard output is a terminal: specify FILE, or redirect it");
		exit(fail_report("vmsnap", &why));
	}
}
