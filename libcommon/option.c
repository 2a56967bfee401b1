/* SPDX-License-Identifier: MIT */
#include "libcommon/option_internal.h"

#include "libcommon/version.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct option_reader {
	const struct option_table *t;
	void                      *o;
	struct option_parsed      *p;
	struct fail               *why;
	char                     **argv;
	int                        argc, at;      /* next word */
	bool                       ended;         /* "--" was read */
};

static const char *const option_shells[] = { "bash" };

const struct option_row option_builtin[] = {
	OPT_GROUP("Information"),
	{ .kind = OPTION_FLAG, .action = OPTION_HELP, .letter = 'h', .name = "help",
	  .help = "show this help" },
	{ .kind = OPTION_FLAG, .action = OPTION_VERSION, .letter = 'V', .name = "version",
	  .help = "show the version" },
	{ .kind = OPTION_WORD, .action = OPTION_COMPLETION, .name = "completion",
	  OPT_WORDS(option_shells),
	  .help = "print a completion script for this tool" },
	OPT_END
};

const struct option_row *option_next(const struct option_table *t, const struct option_row *r)
{
	const size_t n = sizeof(option_builtin) / sizeof(option_builtin[0]);

	r = r ? r + 1 : t->rows;
	if (r->kind != OPTION_END)
		return r;
	return r == &option_builtin[n - 1] ? NULL : option_builtin;
}

bool option_valid_for(const struct option_row *r, unsigned command)
{
	return r->commands == 0 || r->commands & 1u << command;
}

unsigned option_count(const struct option_command *commands)
{
	unsigned n = 0;

	while (commands[n].name)
		n++;
	return n;
}

bool option_given(const struct option_table *t, const struct option_parsed *p, const char *name)
{
	for (const struct option_row *r = t->rows; r->kind != OPTION_END; r++)
		if (r->name && !strcmp(r->name, name))
			return p->given >> (r - t->rows) & 1;
	return false;
}

bool option_is_word(const struct option_command *c)
{
	return c->name[0] && c->name[0] != '-';
}

/* The command named so, OPTION_NO_COMMAND when there is none. */
static unsigned option_command(const struct option_table *t, const char *name)
{
	for (unsigned i = 0; t->commands[i].name; i++)
		if (name[0] && !strcmp(t->commands[i].name, name))
			return i;
	return OPTION_NO_COMMAND;
}

static bool option_has_default(const struct option_table *t)
{
	return !t->commands[0].name[0];
}

/* A command is named once, by its word or by its option. */
static int option_choose(struct option_reader *r, unsigned command)
{
	const struct option_command *c = r->t->commands;

	if (r->p->command == command)
		return fail_set(r->why, FAIL_USAGE, "duplicate %s", c[command].name);
	if (r->p->command != OPTION_NO_COMMAND)
		return fail_set(r->why, FAIL_USAGE, "%s and %s are mutually exclusive",
				c[r->p->command].name, c[command].name);
	r->p->command = command;
	return 0;
}

static int option_take(struct option_reader *r, const struct option_row *row, const char *text)
{
	char     name[OPTION_TEXT];
	unsigned command;

	if (row->action) {
		unsigned word;

		r->p->action = row->action;
		return row->action == OPTION_COMPLETION ? option_set(row, &word, text, r->why) : 0;
	}
	/* Where every use begins with a command, what only some of them have comes after it. */
	if (!option_has_default(r->t) && r->p->command == OPTION_NO_COMMAND && row->commands)
		return fail_set(r->why, FAIL_USAGE, "--%s must follow its command", row->name);
	snprintf(name, sizeof(name), "--%s", row->name);
	command = option_command(r->t, name);
	if (command != OPTION_NO_COMMAND && option_choose(r, command))
		return -1;
	r->p->given |= (uint64_t)1 << (row - r->t->rows);
	return option_set(row, r->o, text, r->why);
}

/* The argument of an option that was written without one: the next word, or what stands for it. */
static int option_take_next(struct option_reader *r, const struct option_row *row)
{
	char arg[OPTION_TEXT];

	if (row->kind == OPTION_FLAG)
		return option_take(r, row, NULL);
	if (row->implied)
		return option_take(r, row, row->implied);
	if (r->at == r->argc)
		return fail_set(r->why, FAIL_USAGE, "--%s requires %s", row->name,
				option_arg(row, arg));
	return option_take(r, row, r->argv[r->at++]);
}

/* The option of that name or, if there is one only, the one whose name begins so. */
static const struct option_row *option_find(struct option_reader *r, const char *name, size_t len)
{
	const struct option_row *found = NULL;
	char                     list[OPTION_TEXT] = "";
	unsigned                 n = 0;

	for (const struct option_row *row = NULL; (row = option_next(r->t, row));) {
		size_t at = strlen(list);

		if (!row->name || strncmp(row->name, name, len))
			continue;
		if (!row->name[len])
			return row;
		snprintf(list + at, sizeof(list) - at, "%s--%s", n ? ", " : "", row->name);
		found = row;
		n++;
	}
	if (n > 1)
		fail_set(r->why, FAIL_USAGE, "ambiguous option '--%.*s' (%s)", (int)len, name,
				list);
	else if (!n)
		fail_set(r->why, FAIL_USAGE, "unrecognized option '--%.*s'",
				(int)(len < 80 ? len : 80), name);
	return n == 1 ? found : NULL;
}

static int option_long(struct option_reader *r, const char *word)
{
	const char              *eq  = strchr(word, '=');
	size_t                   len = eq ? (size_t)(eq - word) : strlen(word);
	const struct option_row *row = option_find(r, word, len);

	if (!row)
		return -1;
	if (!eq)
		return option_take_next(r, row);
	if (row->kind == OPTION_FLAG)
		return fail_set(r->why, FAIL_USAGE, "--%s: unexpected argument '%.80s'", row->name,
				eq + 1);
	return option_take(r, row, eq + 1);
}

/* Letters of flags, the last of them of an option with an argument perhaps. */
static int option_short(struct option_reader *r, const char *letters)
{
	for (; *letters && !r->p->action; letters++) {
		const struct option_row *row = option_next(r->t, NULL);

		while (row && row->letter != *letters)
			row = option_next(r->t, row);
		if (!row)
			return fail_set(r->why, FAIL_USAGE, "unrecognized option '-%c'", *letters);
		if (row->kind != OPTION_FLAG && letters[1])
			return option_take(r, row, letters + 1);
		if (option_take_next(r, row))
			return -1;
	}
	return 0;
}

static int option_word_read(struct option_reader *r, char *word)
{
	const struct option_command *c       = r->t->commands;
	struct option_parsed        *p       = r->p;
	unsigned                     command = option_command(r->t, word);

	/* A VM may have the name of a command: behind a command's word, and behind the "--" that
	 * follows a command's option, every word is an operand. */
	if (p->command != OPTION_NO_COMMAND && (r->ended || option_is_word(&c[p->command])))
		command = OPTION_NO_COMMAND;
	if (command != OPTION_NO_COMMAND && option_is_word(&c[command]) && p->noperands == 0)
		return option_choose(r, command);
	p->operands[p->noperands++] = word;
	return 0;
}

static int option_read(struct option_reader *r)
{
	while (r->at < r->argc && !r->p->action) {
		char *word = r->argv[r->at++];
		int   rc   = 0;

		if (r->ended || word[0] != '-' || !word[1])
			rc = option_word_read(r, word);
		else if (!strcmp(word, "--"))
			r->ended = true;
		else if (word[1] == '-')
			rc = option_long(r, word + 2);
		else
			rc = option_short(r, word + 1);
		if (rc)
			return -1;
	}
	return 0;
}

int option_parse(const struct option_table *t, void *o, int argc, char **argv,
		 struct option_parsed *p, struct fail *why)
{
	struct option_reader r = {
		.t = t, .o = o, .p = p, .why = why, .argv = argv, .argc = argc, .at = 1,
	};
	ptrdiff_t            n = 0;

	/* Operands are kept in argv, where they never get ahead of what is read. */
	*p = (struct option_parsed){ .command = OPTION_NO_COMMAND, .operands = argv + (argc > 0) };
	for (const struct option_row *row = t->rows; row->kind != OPTION_END; row++, n++)
		if (row->preset && option_set(row, o, row->preset, why))
			return -1;
	assert(n <= 64 && option_count(t->commands) < OPTION_NO_COMMAND);
	if (option_read(&r))
		return -1;
	if (p->action)
		return 0;
	p->operands[p->noperands] = NULL;
	return option_check(t, p, why);
}

void option_act(const struct option_table *t, const struct option_parsed *p)
{
	switch (p->action) {
	case OPTION_RUN:
		return;
	case OPTION_HELP:
		option_help(t, p->command, stdout);
		break;
	case OPTION_VERSION:
		printf("%s (vmferry) %s\n", t->tool, VMFERRY_VERSION);
		break;
	case OPTION_COMPLETION:
		option_bash(t, stdout);
		break;
	}
	if (fflush(stdout) || ferror(stdout)) {
		struct fail why;

		fail_sys(&why, "standard output");
		exit(fail_report(t->tool, &why));
	}
	exit(0);
}

void option_refuse(const struct option_table *t, const struct fail *why)
{
	if (why)
		fail_report(t->tool, why);
	fprintf(stderr, "usage: %s %s\nsee %s --help\n", t->tool, t->usage, t->tool);
	exit(2);
}
