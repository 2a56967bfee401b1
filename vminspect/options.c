/* SPDX-License-Identifier: MIT */
#include "vminspect/options.h"

#include "libcommon/publish.h"
#include "libcommon/units.h"
#include "libcommon/version.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JSON = 256, OPT_CONFIG, OPT_DTB, OPT_FORCE, OPT_RAW, OPT_VERSION };

static const struct option longs[] = {
	{ "json",    no_argument,       NULL, OPT_JSON    },
	{ "config",  no_argument,       NULL, OPT_CONFIG  },
	{ "dtb",     required_argument, NULL, OPT_DTB     },
	{ "force",   no_argument,       NULL, OPT_FORCE   },
	{ "raw",     no_argument,       NULL, OPT_RAW     },
	{ "help",    no_argument,       NULL, 'h'         },
	{ "version", no_argument,       NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static void options_usage(int status)
{
	FILE *out = status ? stderr : stdout;

	fputs("usage: vminspect COMMAND [--json] [FILE]\n"
	      "Inspects the snapshot FILE, or standard input.\n", out);
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-6s %-32s %s\n", c->name, c->operands, c->help);
	fputs("  --help, --version\n", out);
	exit(status);
}

static void options_takes(const struct command *c, unsigned what, const char *name)
{
	if (c->takes & what)
		return;
	warnx("%s: --%s not supported by this command", c->name, name);
	options_usage(2);
}

static const char *options_name(int opt)
{
	const struct option *o = longs;

	while (o->name && o->val != opt)
		o++;
	return o->name;
}

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

/* GPA [LEN]; a word that is no length is the file. Returns how many operands it took. */
static int options_range(struct args *a, int n, char **operands)
{
	a->len = 256;
	if (n < 1) {
		warnx("mem: missing GPA operand");
		options_usage(2);
	}
	if (!options_number(&a->gpa, operands[0])) {
		warnx("mem: invalid address '%s' (for example 0x80000000)", operands[0]);
		options_usage(2);
	}
	if (n < 2 || (!options_number(&a->len, operands[1]) && !units_size(&a->len, operands[1])))
		return 1;
	if (a->len == 0) {
		warnx("mem: invalid length 0");
		options_usage(2);
	}
	return 2;
}

static const struct command *options_command(const char *word)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, word) == 0)
			return c;
	warnx("unsupported command '%s'", word);
	options_usage(2);
	return NULL;
}

const struct command *options_parse(struct args *a, int argc, char **argv)
{
	const struct command *command = NULL;

	/* The first operand is the command; '+' stops there, so that its options are judged knowing it. */
	for (int c; (c = getopt_long(argc, argv, "+h", longs, NULL)) != -1;)
		switch (c) {
		case OPT_JSON:    a->json = true; break;
		case 'h':         options_usage(0); break;
		case OPT_VERSION: printf("vminspect %s\n", VMFERRY_VERSION); exit(0);
		case OPT_CONFIG:
		case OPT_DTB:
		case OPT_FORCE:
		case OPT_RAW:
			warnx("--%s must follow its command", options_name(c));
			/* fall through */
		default:          options_usage(2);
		}
	if (optind == argc)
		options_usage(2);
	command = options_command(argv[optind]);
	argc -= optind;
	argv += optind;
	optind = 0;      /* glibc: begin anew */
	argv[0] = (char *)"vminspect";
	for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
		switch (c) {
		case OPT_JSON:    a->json = true; break;
		case OPT_CONFIG:  options_takes(command, TAKES_CONFIG, "config"); a->config = true; break;
		case OPT_DTB:     options_takes(command, TAKES_DTB, "dtb"); a->dtb = optarg; break;
		case OPT_FORCE:   options_takes(command, TAKES_DTB, "force"); a->force = true; break;
		case OPT_RAW:     options_takes(command, TAKES_RAW, "raw"); a->raw = true; break;
		case 'h':         options_usage(0); break;
		case OPT_VERSION: printf("vminspect %s\n", VMFERRY_VERSION); exit(0);
		default:          options_usage(2);
		}
	if (command->takes & TAKES_RANGE)
		optind += options_range(a, argc - optind, argv + optind);
	if (optind < argc)
		a->file = argv[optind++];
	if (optind < argc) {
		warnx("%s: unexpected operand '%s'", command->name, argv[optind]);
		options_usage(2);
	}
	if (a->force && (!a->dtb || publish_standard(a->dtb))) {
		warnx("--force requires --dtb FILE");
		options_usage(2);
	}
	if (a->json && (a->raw || a->dtb)) {
		warnx("--json and --%s are mutually exclusive", a->raw ? "raw" : "dtb");
		options_usage(2);
	}
	return command;
}
