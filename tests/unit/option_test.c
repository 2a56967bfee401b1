/* SPDX-License-Identifier: MIT */
/* Command lines by table: values, names, commands, operands, --help, completion. */
#include "libcommon/option.h"

#include "tests/unit/tap.h"

#include <stdlib.h>
#include <string.h>

enum colour { RED, GREEN };
enum { WORK, FETCH, SHOW };

struct sample {
	bool        force, loud;
	const char *file, *choice;
	enum colour colour;
	int         level;
	uint32_t    rounds;
	uint64_t    big, size, time;
	unsigned    nitems;
	char        items[3][8];
};

static const char *const colours[] = { "red", "green" };

static int sample_item(void *target, const char *text, struct fail *why)
{
	struct sample *s = target;

	if (!text[0])
		return -1;
	if (s->nitems == 3)
		return fail_set(why, FAIL_USAGE, "too many");
	snprintf(s->items[s->nitems++], sizeof(s->items[0]), "%s", text);
	return 0;
}

static const struct option_row rows[] = {
	OPT_GROUP("First"),
	{ OPT_FLAG(struct sample, force), .letter = 'f', .name = "force", .help = "forces" },
	{ OPT_FLAG(struct sample, loud), .name = "loud", .excludes = "force choice",
	  .help = "not with others" },
	{ OPT_STRING(struct sample, file, 1, 8), .letter = 'o', .name = "file", .arg = "FILE",
	  .help = "a file" },
	{ OPT_CHOICE(struct sample, choice, colours), .name = "choice",
	  .help = "a word kept as text" },
	{ OPT_WORD(struct sample, colour, colours), .name = "colour", .preset = "green",
	  .help = "a word" },
	{ OPT_INT(struct sample, level, -7, 19), .name = "level", .arg = "N", .implied = "1",
	  .help = "signed" },
	OPT_GROUP("Second"),
	{ OPT_U32(struct sample, rounds, 1, UINT32_MAX), .name = "rounds", .arg = "N",
	  .preset = "30",
	  .help = "numbers" },
	{ OPT_U64(struct sample, big, 0, UINT64_MAX), .name = "rounder", .arg = "N",
	  .help = "any number" },
	{ OPT_SIZE(struct sample, size, 4096, (uint64_t)1 << 40), .step = 4096, .name = "size",
	  .arg = "SIZE",
	  .help = "a size" },
	{ OPT_TIME(struct sample, time, 1000, 600 * OPTION_S), .name = "time", .arg = "TIME",
	  .preset = "1500ms",
	  .help = "a duration" },
	{ OPT_COLLECT(sample_item), .name = "item", .arg = "TEXT", .valid = "text",
	  .help = "collected" },
	{ OPT_STRING(struct sample, file, 0, 99), .name = "fetch", .arg = "URL",
	  .commands = 1u << FETCH,
	  .help = "chooses a command; an explanation that is so long that it takes two lines" },
	{ OPT_FLAG(struct sample, loud), .name = "deep", .commands = 1u << FETCH | 1u << SHOW,
	  .help = "for two" },
	{ OPT_FLAG(struct sample, loud), .name = "once", .commands = 1u << WORK,
	  .help = "for the default" },
	OPT_END
};

static const struct option_command commands[] = {
	[WORK]  = { "",        "VM [FILE]", "work" },
	[FETCH] = { "--fetch", "[WORD]...", "fetch" },
	[SHOW]  = { "show",    "",          "show" },
	{ NULL, NULL, NULL },
};

static const struct option_table table = {
	.tool = "sample", .usage = "[OPTION]... VM [FILE]", .about = "Does nothing.",
			.commands = commands,
	.rows = rows,
};

static struct sample        s;
static struct option_parsed p;
static struct fail          why;
static char                 words[12][40];
static char                *argv[13];

/* Parses a command line whose words are separated by '|'. */
static int parse_table(const struct option_table *t, const char *line)
{
	int argc = 1;

	strcpy(words[0], t->tool);
	while (*line) {
		size_t n = strcspn(line, "|");

		snprintf(words[argc++], sizeof(words[0]), "%.*s", (int)n, line);
		line += n + (line[n] == '|');
	}
	for (int i = 0; i < argc; i++)
		argv[i] = words[i];
	argv[argc] = NULL;
	s   = (struct sample){ 0 };
	why = (struct fail){ 0 };
	return option_parse(t, &s, argc, argv, &p, &why);
}

static int parse(const char *line)
{
	return parse_table(&table, line);
}

static bool refused(const char *line, const char *message)
{
	if (parse(line) == -1 && why.kind == FAIL_USAGE && !strcmp(why.what, message))
		return true;
	note("%s: %s", line, why.what);
	return false;
}

#define ROUNDS ": invalid value (valid: 1 to 4294967295)"
#define SIZES  ": invalid value (valid: 4K to 1T in steps of 4K)"
#define TIMES  ": invalid value (valid: 1us to 10m)"
#define LEVELS ": invalid value (valid: -7 to 19)"
#define WORDS  ": invalid value (valid: red, green)"

static void test_values(void)
{
	ok(parse("vm") == 0 && s.colour == GREEN && s.rounds == 30 && s.time == 1500 * OPTION_MS &&
	   s.level == 0, "defaults are applied, and what has none is left alone");
	ok(parse("--rounds|4294967295|--rounder=18446744073709551615|vm") == 0 &&
	   s.rounds == UINT32_MAX && s.big == UINT64_MAX, "the largest numbers are taken");
	ok(refused("--rounds|0|vm", "--rounds 0" ROUNDS) &&
	   refused("--rounds|4294967296|vm", "--rounds 4294967296" ROUNDS) &&
	   refused("--rounds|1x", "--rounds 1x" ROUNDS) &&
	   refused("--rounds|-1", "--rounds -1" ROUNDS) &&
	   refused("--rounds=", "--rounds ''" ROUNDS),
	   "a number outside its range, malformed or empty is refused with the range");
	ok(refused("--rounder|18446744073709551616",
		   "--rounder 18446744073709551616: invalid value (valid: 0 or more)"),
	   "so is one that 64 bits cannot hold, where there is no upper limit");
	ok(parse("--size|64K|vm") == 0 && s.size == 65536 && parse("--size=1t|vm") == 0 &&
	   s.size >> 40 == 1 && parse("--size|8192|vm") == 0 && s.size == 8192,
	   "sizes have K, M, G, T");
	ok(refused("--size|4097", "--size 4097" SIZES) && refused("--size|2T", "--size 2T" SIZES) &&
	   refused("--size|99999999999T", "--size 99999999999T" SIZES) &&
	   refused("--size|1KB", "--size 1KB" SIZES),
	   "a size outside its range or its steps, or that overflows, is refused");
	ok(parse("--time|2000ns|vm") == 0 && s.time == 2000 && parse("--time|3us|vm") == 0 &&
	   s.time == 3000 && parse("--time|10m|vm") == 0 && s.time == 600 * OPTION_S,
	   "durations have ns, us, ms, s, m");
	ok(refused("--time|50", "--time 50" TIMES) &&
	   refused("--time|999ns", "--time 999ns" TIMES) &&
	   refused("--time|601s", "--time 601s" TIMES) &&
	   refused("--time|99999999999999h", "--time 99999999999999h" TIMES),
	   "a duration without its unit, outside its range, or that overflows, is refused");
	ok(parse("--level|vm") == 0 && s.level == 1 && p.noperands == 1 &&
	   parse("--level=-7|vm") == 0 && s.level == -7, "an optional argument comes after '='");
	ok(refused("--level=-8", "--level=-8" LEVELS) &&
	   refused("--level=20", "--level=20" LEVELS) &&
	   refused("--level=", "--level=''" LEVELS) &&
	   refused("--level=-99999999999", "--level=-99999999999" LEVELS),
	   "a number with a sign keeps to its range");
	ok(parse("--colour|red|--choice=green|vm") == 0 && s.colour == RED &&
	   !strcmp(s.choice, "green") && refused("--colour|blue", "--colour blue" WORDS) &&
	   refused("--choice|re", "--choice re" WORDS), "a word is one of those listed, whole");
	ok(parse("--file|12345678|vm") == 0 && !strcmp(s.file, "12345678") &&
	   refused("--file|123456789", "--file: invalid length 9 (valid: 1 to 8 characters)") &&
	   refused("--file=", "--file: invalid length 0 (valid: 1 to 8 characters)"),
	   "text keeps to its length");
	ok(parse("--rounds|1|--rounds|2|--item|a|--item=b|vm") == 0 && s.rounds == 2 &&
	   s.nitems == 2 && !strcmp(s.items[0], "a") && !strcmp(s.items[1], "b"),
	   "of an option given twice the last counts; a collector gets each");
	ok(refused("--item|a|--item|b|--item|c|--item|d", "--item: too many") &&
	   refused("--item=", "--item '': invalid value (valid: text)"),
	   "a setter's message gets the option's name; without one there is the usual message");
}

static void test_names(void)
{
	ok(parse("--forc|vm|--lev=3") == 0 && s.force && s.level == 3, "a unique prefix is enough");
	ok(refused("--f|vm", "ambiguous option '--f' (--force, --file, --fetch)") &&
	   refused("--round|5|vm", "ambiguous option '--round' (--rounds, --rounder)") &&
	   parse("--rounds|5|vm") == 0, "an ambiguous one is refused with what it may be");
	ok(refused("--none|vm", "unrecognized option '--none'") &&
	   refused("-x", "unrecognized option '-x'") &&
	   refused("-fx", "unrecognized option '-x'") &&
	   refused("--forcex", "unrecognized option '--forcex'"), "an unknown option is refused");
	ok(refused("--rounds", "--rounds requires N") && refused("vm|-o", "--file requires FILE") &&
	   refused("--colour", "--colour requires red|green"), "a missing argument is named");
	ok(refused("--force=x|vm", "--force: unexpected argument 'x'") &&
	   refused("--force=|vm", "--force: unexpected argument ''"), "a flag takes no argument");
	ok(parse("-fo|x|vm") == 0 && s.force && !strcmp(s.file, "x") && parse("-foy|vm") == 0 &&
	   !strcmp(s.file, "y"), "letters may be joined, the last with its argument");
	ok(parse("--rounds|30|vm") == 0 && option_given(&table, &p, "rounds") &&
	   !option_given(&table, &p, "time"),
	   "what was given is known, also when it is the default");
	ok(refused("--loud|--force|vm", "--loud and --force are mutually exclusive") &&
	   refused("--choice|red|--loud|vm", "--loud and --choice are mutually exclusive") &&
	   parse("--loud|vm") == 0, "options exclude each other in either order");
}

static void test_commands(void)
{
	ok(parse("vm|--force|file") == 0 && p.command == WORK && p.noperands == 2 && s.force &&
	   !strcmp(p.operands[0], "vm") && !strcmp(p.operands[1], "file") && !p.operands[2],
	   "options may follow operands");
	ok(parse("--|--force|-x") == 0 && !s.force && p.noperands == 2 &&
	   !strcmp(p.operands[0], "--force") && parse("--|--fetch") == 0 && p.command == WORK &&
	   p.noperands == 1, "'--' ends the options, those that choose a command as well");
	ok(parse("-|vm") == 0 && !strcmp(p.operands[0], "-"), "'-' is an operand");
	ok(refused("", "missing VM operand") && refused("a|b|c", "unexpected operand 'c'") &&
	   refused("show|x", "show: unexpected operand 'x'"), "operands are counted");
	ok(parse("show|--deep") == 0 && p.command == SHOW && parse("--deep|show") == 0 &&
	   p.command == SHOW, "a command is chosen by its word");
	ok(parse("--fetch|u|--deep|a|b|c|d") == 0 && p.command == FETCH && p.noperands == 4 &&
	   !strcmp(s.file, "u"), "or by its option, and may take any number of operands");
	ok(parse("--|show") == 0 && p.command == SHOW &&
	   parse("--fetch|u|--|show|--deep") == 0 && p.command == FETCH && p.noperands == 2,
	   "behind '--' an operand of the chosen command may be called as another command");
	ok(refused("--fetch|u|show", "--fetch and show are mutually exclusive") &&
	   refused("show|--fetch|u", "show and --fetch are mutually exclusive") &&
	   refused("--fetch|u|--fetch|v", "duplicate --fetch"), "there is one command");
	ok(refused("--deep|vm", "--deep requires --fetch or show") &&
	   refused("--once|--fetch|u", "--once and --fetch are mutually exclusive") &&
	   refused("show|--once", "show: --once not supported by this command"),
	   "an option of other commands is refused, and those are named");
	ok(parse("vm|--help|--nonsense") == 0 && p.action == OPTION_HELP && parse("show|-h") == 0 &&
	   p.command == SHOW && parse("-V") == 0 && p.action == OPTION_VERSION &&
	   parse("--completion|bash") == 0 && p.action == OPTION_COMPLETION,
	   "--help, --version and --completion need nothing else");
	ok(refused("--completion|fish", "--completion fish: invalid value (valid: bash)"),
	   "completion is for bash");
}

/* A tool whose first operand is always a command. */
static void test_no_default(void)
{
	static const struct option_row two_rows[] = {
		{ OPT_FLAG(struct sample, force), .name = "force", .help = "" },
		{ OPT_FLAG(struct sample, loud), .name = "loud", .commands = 1u << 1, .help = "" },
		OPT_END
	};
	static const struct option_command two[] = {
		{ "a", "[X]", "" }, { "b", "", "" }, { NULL, NULL, NULL },
	};
	static const struct option_table t = {
		.tool = "two", .usage = "", .about = "", .commands = two, .rows = two_rows,
	};

	ok(parse_table(&t, "--force|b|--loud") == 0 && p.command == 1 && s.loud,
	   "a command is found behind options");
	ok(parse_table(&t, "c") == -1 && !strcmp(why.what, "unsupported command 'c'") &&
	   parse_table(&t, "--force") == -1 && !strcmp(why.what, "missing COMMAND operand"),
	   "without a default one is needed");
	ok(parse_table(&t, "--loud|b") == -1 && !strcmp(why.what, "--loud must follow its command"),
	   "an option of one command comes after it");
}

static char *printed(void (*print)(FILE *out))
{
	char  *text = NULL;
	size_t len;
	FILE  *f = open_memstream(&text, &len);

	if (!f)
		abort();
	print(f);
	fclose(f);
	return text;
}

static void print_help(FILE *out) { option_help(&table, OPTION_NO_COMMAND, out); }
static void print_show(FILE *out) { option_help(&table, SHOW, out); }
static void print_bash(FILE *out) { option_bash(&table, out); }

static void test_output(void)
{
	char  *help = printed(print_help), *show = printed(print_show), *bash = printed(print_bash);
	size_t widest = 0;
	bool   all = true;

	for (const char *line = help; *line; line += strcspn(line, "\n") + 1)
		widest = strcspn(line, "\n") > widest ? strcspn(line, "\n") : widest;
	for (const struct option_row *r = rows; r->kind != OPTION_END; r++)
		all = all && (!r->name || (strstr(help, r->name) && strstr(bash, r->name)));
	ok(all, "--help and completion have every option");
	ok(widest <= 80 && strstr(help, "so long\n                            that it takes"),
	   "--help keeps to 80 columns, what is longer goes on below");
	ok(strstr(help, "\nFirst:\n  -f, --force               forces\n") &&
	   strstr(help, "\nSecond:\n  --rounds N                numbers (1 to 4294967295; "
			"default 30)\n"),
	   "options are in groups");
	ok(strstr(help, "  --level[=N]               signed (-7 to 19; 1 if omitted)\n") &&
	   strstr(help, "  --colour red|green        a word (default green)\n") &&
	   strstr(help, "  --item TEXT               collected (may be repeated)\n") &&
	   strstr(help, "  --fetch URL [WORD]...     fetch\n"),
	   "each has its argument, range and default");
	ok(strstr(show, "usage: sample show [OPTION]...\n") && strstr(show, "--deep") &&
	   !strstr(show, "--once"), "--help of a command has its options alone");
	ok(strstr(bash, "--colour) words='red green' ;;") &&
	   strstr(bash, ":0) words=\"$(_sample_vms) show\" ;;"),
	   "completion has the words of an option, VMs and commands");
	free(help);
	free(show);
	free(bash);
}

int main(void)
{
	test_values();
	test_names();
	test_commands();
	test_no_default();
	test_output();
	return done_testing();
}
