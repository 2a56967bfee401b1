/* SPDX-License-Identifier: MIT */
#include "vmsnap/options.h"

#include "libcommon/client/copy_options.h"
#include "libcommon/publish.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOR(command) (1u << COMMAND_##command)

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

static const char *const options_layouts[] = { "chunked", "flat" };

static const struct option_row options_rows[] = {
	OPT_GROUP("Copying"),
	COPY_LEVEL_ROWS(struct options, 0),
	COPY_PAUSE_ROWS(struct options, FOR(SAVE), "50ms", "10s"),
	{ OPT_SIZE(struct options, pause_buffer, 0, (uint64_t)1 << 40), .name = "pause-buffer",
	  .arg = "SIZE", .preset = "256M", .commands = FOR(SAVE),
	  .help = "memory for pages copied during the pause" },
	OPT_GROUP("The snapshot"),
	{ OPT_CHOICE(struct options, layout_name, options_layouts), .name = "layout",
	  .preset = "chunked",
	  .help = "layout of the snapshot; flat has memory as it is, to be mapped" },
	{ OPT_FLAG(struct options, with_images), .name = "with-images", .excludes = "state-only",
	  .commands = FOR(SAVE),
	  .help = "include kernel and initrd, for a restore without their files" },
	{ OPT_FLAG(struct options, state_only), .name = "state-only", .commands = FOR(SAVE),
	  .help = "save configuration and device state only, no memory" },
	{ OPT_FLAG(struct options, stop_after), .name = "stop-after", .commands = FOR(SAVE),
	  .help = "quit the VM when the snapshot is on disk; --pause-deadline is then 10m unless "
		  "given" },
	{ OPT_FLAG(struct options, force), .name = "force",
	  .help = "overwrite FILE or OUT if it exists" },
	{ OPT_SET(struct options, mode, mode_t, options_mode), .name = "mode", .arg = "MODE",
	  .preset = "0400", .valid = "octal, read and write bits, such as 0440",
	  .help = "mode of FILE or OUT, octal: guest memory holds secrets" },
	OPT_GROUP("Output"),
	COPY_REPORT_ROWS(struct options, 0),
	OPT_END
};

static const struct option_command options_commands[] = {
	[COMMAND_SAVE]    = { "", "VM [FILE]", "save a running VM" },
	[COMMAND_CONVERT] = { "convert", "IN [OUT]",
			      "write the snapshot IN anew, in another layout or compression" },
	{ NULL, NULL, NULL },
};

static const struct option_table options_table = {
	.tool = "vmsnap", .usage = "[OPTION]... VM [FILE] | convert [OPTION]... IN [OUT]",
	.commands = options_commands, .rows = options_rows,
	.about = "Saves a running virtual machine to a file or a pipe, or converts a snapshot.",
};

static const char *options_operand(const struct option_parsed *p, int i,
				   bool (*standard)(const char *path))
{
	return i < p->noperands && !standard(p->operands[i]) ? p->operands[i] : NULL;
}

static bool options_input(const char *path)
{
	return !strcmp(path, "-");
}

/* What the rows of the table cannot express. */
static int options_check(const struct options *o, const struct option_parsed *p, struct fail *why)
{
	const char *out = o->command == COMMAND_SAVE ? "FILE" : "OUT";

	if (!o->file && (o->force || option_given(&options_table, p, "mode")))
		return fail_set(why, FAIL_USAGE, "--%s requires %s", o->force ? "force" : "mode",
				out);
	/* The same snapshot gives the same bytes, however slow the output is. */
	if (o->command == COMMAND_CONVERT && o->level == SNAP_LEVEL_AUTO)
		return fail_set(why, FAIL_USAGE,
				"--compress=auto is for saves: specify a level (-100 to 19)");
	if (o->layout == SNAP_FLAT && (o->level || o->state_only))
		return fail_set(why, FAIL_USAGE, "--layout flat and --%s are mutually exclusive",
				o->level ? "compress" : "state-only");
	return 0;
}

/* Standard output is a file, perhaps: only the flat layout has to know. */
static int options_output(const struct options *o, struct fail *why)
{
	const char *out = o->command == COMMAND_SAVE ? "FILE" : "OUT";
	struct stat st;
	int         flags = fcntl(STDOUT_FILENO, F_GETFL);

	if (o->file)
		return 0;
	if (isatty(STDOUT_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard output is a terminal: specify %s, or redirect it", out);
	if (o->layout == SNAP_CHUNKED)
		return 0;
	if (fstat(STDOUT_FILENO, &st) || flags == -1)
		return fail_sys(why, "standard output");
	if (S_ISREG(st.st_mode) && st.st_size == 0 && !(flags & O_APPEND))
		return 0;
	return fail_set(why, FAIL_USAGE,
			"standard output: --layout flat requires an empty file; specify %s, or use "
			"--layout chunked", out);
}

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
	o->command = (enum command)p.command;
	snap_layout_parse(&o->layout, o->layout_name);
	/* The pause then lasts until everything is on disk: the deadline bounds a single write. */
	if (o->stop_after && !option_given(&options_table, &p, "pause-deadline"))
		o->pause_deadline_ns = 600 * OPTION_S;
	o->file = options_operand(&p, 1, publish_standard);
	if (o->command == COMMAND_SAVE)
		o->vm = p.operands[0];
	else
		o->in = options_operand(&p, 0, options_input);
	if (options_check(o, &p, &why))
		option_refuse(&options_table, &why);
	if (options_output(o, &why))
		exit(fail_report("vmsnap", &why));
}
