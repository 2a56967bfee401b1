/* SPDX-License-Identifier: MIT */
#include "vminspect/options.h"

#include "libcommon/option.h"
#include "libcommon/publish.h"
#include "libcommon/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row options_rows[] = {
	OPT_GROUP("Options"),
	{ OPT_FLAG(struct args, json), .name = "json", .excludes = "raw dtb",
	  .help = "print one JSON object" },
	OPT_GROUP("Options of tree"),
	{ OPT_FLAG(struct args, config), .name = "config", .commands = 1u << COMMAND_TREE,
	  .help = "the configuration instead of the state" },
	{ OPT_STRING(struct args, dtb, 0, UINT64_MAX), .name = "dtb", .arg = "OUT",
	  .commands = 1u << COMMAND_TREE,
	  .help = "write the tree to OUT as a flattened device tree" },
	{ OPT_FLAG(struct args, force), .name = "force", .commands = 1u << COMMAND_TREE,
	  .help = "overwrite OUT if it exists" },
	OPT_GROUP("Options of mem"),
	{ OPT_FLAG(struct args, raw), .name = "raw", .commands = 1u << COMMAND_MEM,
	  .help = "write the bytes themselves" },
	OPT_END
};

static const struct option_command options_commands[] = {
	[COMMAND_INFO]   = { "info", "[FILE]",
			     "machine, devices, memory, host resources, digests" },
	[COMMAND_TREE]   = { "tree", "[FILE]", "the VM tree: saved state, or configuration" },
	[COMMAND_REGS]   = { "regs", "[FILE]", "registers of every CPU" },
	[COMMAND_MEM]    = { "mem", "GPA [LEN] [FILE]",
			     "guest memory at GPA (default LEN: 256 bytes)" },
	[COMMAND_VERIFY] = { "verify", "[FILE]", "check structure, checksums and digests" },
	{ NULL, NULL, NULL },
};

static const struct option_table options_table = {
	.tool = "vminspect", .usage = "COMMAND [--json] [FILE]", .commands = options_commands,
	.rows = options_rows, .about = "Inspects the snapshot FILE, or standard input.",
};

/* A guest address: decimal, or hexadecimal with 0x. */
static bool options_number(uint64_t *out, const char *text)
{
	char              *end;
	unsigned long long v;

	if (strncmp(text, "0x", 2) && strncmp(text, "0X", 2))
		return units_number(out, text, 0, UINT64_MAX);
	if (strspn(text + 2, "0123456789abcdefABCDEF") != strlen(text + 2) || !text[2])
		return false;
	errno = 0;
	v     = strtoull(text + 2, &end, 16);
	if (errno || *end)
		return false;
	*out = v;
	return true;
}

/* GPA [LEN]; a word that is no length is the file. *taken: how many operands they were. */
static int options_range(struct args *a, const struct option_parsed *p, int *taken,
			 struct fail *why)
{
	a->len = 256;
	*taken = 1;
	if (!options_number(&a->gpa, p->operands[0]))
		return fail_set(why, FAIL_USAGE,
				"mem: invalid address '%.80s' (for example 0x80000000)",
				p->operands[0]);
	if (p->noperands < 2)
		return 0;
	if (!options_number(&a->len, p->operands[1]) && !units_size(&a->len, p->operands[1]))
		return 0;
	*taken = 2;
	return a->len ? 0 : fail_set(why, FAIL_USAGE, "mem: invalid length 0");
}

static int options_operands(struct args *a, const struct option_parsed *p, struct fail *why)
{
	int n = 0;

	if (p->command == COMMAND_MEM && options_range(a, p, &n, why))
		return -1;
	if (n < p->noperands)
		a->file = p->operands[n++];
	if (n < p->noperands)
		return fail_set(why, FAIL_USAGE, "%s: unexpected operand '%.80s'",
				options_commands[p->command].name, p->operands[n]);
	if (a->force && (!a->dtb || publish_standard(a->dtb)))
		return fail_set(why, FAIL_USAGE, "--force requires --dtb FILE");
	return 0;
}

enum command options_parse(struct args *a, int argc, char **argv)
{
	struct option_parsed p;
	struct fail          why;

	if (argc < 2)
		option_refuse(&options_table, NULL);
	if (option_parse(&options_table, a, argc, argv, &p, &why))
		option_refuse(&options_table, &why);
	option_act(&options_table, &p);
	if (options_operands(a, &p, &why))
		option_refuse(&options_table, &why);
	return (enum command)p.command;
}
