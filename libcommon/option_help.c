/* SPDX-License-Identifier: MIT */
#include "libcommon/option_internal.h"

#include <string.h>

#define HELP_COLUMN 28      /* where explanations begin */
#define HELP_WIDTH  80
#define HELP_TEXT   1000

/* Words of text from HELP_COLUMN on, the cursor being at column `at`. */
static void help_wrap(FILE *out, size_t at, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, " ");

		if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
			fputc('\n', out);
			at = 0;
		}
		if (at <= HELP_COLUMN)
			at += (size_t)fprintf(out, "%*s", (int)(HELP_COLUMN - at), "");
		else
			at += (size_t)fprintf(out, " ");
		at   += (size_t)fprintf(out, "%.*s", (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

static void help_item(FILE *out, const char *left, const char *text)
{
	size_t n = (size_t)fprintf(out, "  %s", left);

	if (n + 2 > HELP_COLUMN) {
		fputc('\n', out);
		n = 0;
	}
	help_wrap(out, n, text);
}

/* "-q, --quiet", "--compress[=LEVEL]", "--disk [NAME=]PATH[,ro]" */
static void help_syntax(const struct option_row *r, char out[2 * OPTION_TEXT])
{
	char arg[OPTION_TEXT], letter[8] = "";

	if (r->letter)
		snprintf(letter, sizeof(letter), "-%c, ", r->letter);
	option_arg(r, arg);
	if (r->implied)
		snprintf(out, 2 * OPTION_TEXT, "%s--%s[=%s]", letter, r->name, arg);
	else
		snprintf(out, 2 * OPTION_TEXT, "%s--%s%s%s", letter, r->name, arg[0] ? " " : "",
				arg);
}

static void help_add(char out[HELP_TEXT], const char *between, const char *label, const char *text)
{
	size_t at = strlen(out);

	snprintf(out + at, HELP_TEXT - at, "%s%s%s", between, label, text);
}

/* The explanation, and in parentheses: valid numbers, the default, what an omitted argument
 * means. */
static void help_text(const struct option_row *r, char out[HELP_TEXT])
{
	char        range[OPTION_TEXT] = "";
	const char *between = " (";

	snprintf(out, HELP_TEXT, "%s", r->help);
	/* Words alone are the argument's name already. */
	if (r->kind == OPTION_SET ? r->nwords :
				    !r->nwords && (r->min || r->max != UINT64_MAX))
		option_range(r, range);
	if (range[0]) {
		help_add(out, between, "", range);
		between = "; ";
	}
	if (r->implied) {
		help_add(out, between, r->implied, " if omitted");
		between = "; ";
	}
	if (r->preset) {
		help_add(out, between, "default ", r->preset);
		between = "; ";
	}
	if (r->repeat) {
		help_add(out, between, "may be repeated", "");
		between = "; ";
	}
	if (between[0] == ';')
		help_add(out, ")", "", "");
}

static void help_options(const struct option_table *t, unsigned command, FILE *out)
{
	const char *group = NULL;      /* a heading that no option has followed yet */
	char        left[2 * OPTION_TEXT], text[HELP_TEXT];

	for (const struct option_row *r = option_next(t, NULL); r; r = option_next(t, r)) {
		if (r->kind == OPTION_GROUP) {
			group = r->help;
			continue;
		}
		if (command != OPTION_NO_COMMAND && !option_valid_for(r, command))
			continue;
		if (group)
			fprintf(out, "\n%s:\n", group);
		group = NULL;
		help_syntax(r, left);
		help_text(r, text);
		help_item(out, left, text);
	}
}

/* "status [VM|UUID]", "--listen [ADDR]:PORT [OVERRIDE]..." */
static void help_command(const struct option_table *t, const struct option_command *c,
			 char out[3 * OPTION_TEXT])
{
	char        syntax[2 * OPTION_TEXT];
	const char *between;

	snprintf(syntax, sizeof(syntax), "%s", c->name);
	for (const struct option_row *r = t->rows; c->name[0] == '-' && r->kind != OPTION_END; r++)
		if (r->name && !strcmp(r->name, c->name + 2))
			help_syntax(r, syntax);
	between = syntax[0] && c->operands[0] ? " " : "";
	snprintf(out, 3 * OPTION_TEXT, "%s%s%s", syntax, between, c->operands);
}

static void help_commands(const struct option_table *t, FILE *out)
{
	char left[3 * OPTION_TEXT];

	if (option_count(t->commands) < 2)
		return;
	fprintf(out, "\nCommands:\n");
	for (const struct option_command *c = t->commands; c->name; c++) {
		help_command(t, c, left);
		if (left[0])
			help_item(out, left, c->help);
	}
}

void option_help(const struct option_table *t, unsigned command, FILE *out)
{
	if (command != OPTION_NO_COMMAND && option_is_word(&t->commands[command])) {
		const struct option_command *c = &t->commands[command];

		fprintf(out, "usage: %s %s [OPTION]...%s%s\n", t->tool, c->name,
			c->operands[0] ? " " : "", c->operands);
		fprintf(out, "%s\n", c->help);
		help_options(t, command, out);
		return;
	}
	fprintf(out, "usage: %s %s\n%s\n", t->tool, t->usage, t->about);
	help_commands(t, out);
	help_options(t, OPTION_NO_COMMAND, out);
}
