/* SPDX-License-Identifier: MIT */
#include "libcommon/option_internal.h"

#include <string.h>

bool option_operand(const struct option_command *c, int n, char out[OPTION_TEXT], bool *optional)
{
	const char *at = c->operands;
	size_t      len;

	for (int i = 0; i < n; i++) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	len = strcspn(at, " ");
	if (len > 3 && !strncmp(at + len - 3, "...", 3))
		len -= 3;
	*optional = at[0] == '[';
	if (*optional)
		snprintf(out, OPTION_TEXT, "%.*s", (int)len - 2, at + 1);
	else
		snprintf(out, OPTION_TEXT, "%.*s", (int)len, at);
	return len > 0;
}

/* "info: " for messages about a command that was named by its word. */
static const char *option_subject(const struct option_command *c, char out[OPTION_TEXT])
{
	bool word = option_is_word(c);

	snprintf(out, OPTION_TEXT, "%s%s", word ? c->name : "", word ? ": " : "");
	return out;
}

/* "--restore or --incoming": the commands that r is valid for. */
static const char *option_places(const struct option_table *t, const struct option_row *r,
				 char out[OPTION_TEXT])
{
	const struct option_command *c = t->commands;
	unsigned                     left = 0;
	size_t                       at = 0;

	for (unsigned i = 0; c[i].name; i++)
		left += c[i].name[0] && option_valid_for(r, i);
	for (unsigned i = 0; c[i].name && at < OPTION_TEXT; i++) {
		if (!c[i].name[0] || !option_valid_for(r, i))
			continue;
		left--;
		at += (size_t)snprintf(out + at, OPTION_TEXT - at, "%s%s", c[i].name,
				       left == 0 ? "" : left == 1 ? " or " : ", ");
	}
	return out;
}

static int option_check_command(const struct option_table *t, const struct option_row *r,
				unsigned command, struct fail *why)
{
	const char *name = t->commands[command].name;
	char        places[OPTION_TEXT] = "";

	if (option_valid_for(r, command))
		return 0;
	if (!name[0])
		return fail_set(why, FAIL_USAGE, "--%s requires %s", r->name,
				option_places(t, r, places));
	if (name[0] == '-')
		return fail_set(why, FAIL_USAGE, "--%s and %s are mutually exclusive", r->name,
				name);
	return fail_set(why, FAIL_USAGE, "%s: --%s not supported by this command", name, r->name);
}

static int option_check_excludes(const struct option_table *t, const struct option_parsed *p,
				 const struct option_row *r, struct fail *why)
{
	char   name[OPTION_TEXT];
	size_t n;

	for (const char *at = r->excludes ? r->excludes : ""; *at; at += n + strspn(at + n, " ")) {
		n = strcspn(at, " ");
		snprintf(name, sizeof(name), "%.*s", (int)n, at);
		if (option_given(t, p, name))
			return fail_set(why, FAIL_USAGE, "--%s and --%s are mutually exclusive",
					r->name, name);
	}
	return 0;
}

static int option_check_operands(const struct option_command *c, const struct option_parsed *p,
				 struct fail *why)
{
	char   subject[OPTION_TEXT], operand[OPTION_TEXT];
	bool   optional;
	int    n   = 0;
	size_t len = strlen(c->operands);
	bool   any = len > 3 && !strcmp(c->operands + len - 3, "...");

	for (; option_operand(c, n, operand, &optional); n++)
		if (n >= p->noperands && !optional)
			return fail_set(why, FAIL_USAGE, "%smissing %.*s operand",
					option_subject(c, subject),
					(int)strcspn(operand, "[|"), operand);
	if (n < p->noperands && !any)
		return fail_set(why, FAIL_USAGE, "%sunexpected operand '%.80s'",
				option_subject(c, subject), p->operands[n]);
	return 0;
}

/* A tool whose use without a command takes no operands was given one: a command, misspelt. */
static bool option_not_a_command(const struct option_table *t, const struct option_parsed *p)
{
	if (p->command != OPTION_NO_COMMAND || !p->noperands)
		return false;
	if (t->commands[0].name[0])
		return true;
	return !t->commands[0].operands[0] && option_count(t->commands) > 1;
}

int option_check(const struct option_table *t, struct option_parsed *p, struct fail *why)
{
	if (option_not_a_command(t, p))
		return fail_set(why, FAIL_USAGE, "unsupported command '%.80s'", p->operands[0]);
	if (p->command == OPTION_NO_COMMAND && t->commands[0].name[0])
		return fail_set(why, FAIL_USAGE, "missing COMMAND operand");
	if (p->command == OPTION_NO_COMMAND)
		p->command = 0;
	for (const struct option_row *r = t->rows; r->kind != OPTION_END; r++) {
		if (!(p->given >> (r - t->rows) & 1))
			continue;
		if (option_check_command(t, r, p->command, why))
			return -1;
		if (option_check_excludes(t, p, r, why))
			return -1;
	}
	return option_check_operands(&t->commands[p->command], p, why);
}
