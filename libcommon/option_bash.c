/* SPDX-License-Identifier: MIT */
#include "libcommon/option_internal.h"

#include <string.h>

/* The script walks over the words before the cursor: an option whose argument is due ($pending),
 * the command, the number of operands. Then it offers words, names of VMs or hosts; with none of
 * them bash completes file names (complete -o default). readline makes "--name=value" three words,
 * "=" being the second. */

static const char bash_head[] =
	"# bash completion for @, printed by @ --completion bash\n"
	"_@_vms() { vmrun list 2>/dev/null | awk 'NR > 1 && $3 != \"stale\" { print $1 }'; }\n"
	"_@() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} pending='' command='' operands=0\n"
	"\tlocal ended='' words='' i word\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $pending ]]; then\n"
	"\t\t\t[[ $word == = ]] || pending=''\n"
	"\t\t\tcontinue\n"
	"\t\tfi\n"
	"\t\tcase $ended$word in\n";
static const char bash_command[] =
	")\n"
	"\t\t\tif [[ $command || $operands != 0 ]]; then\n"
	"\t\t\t\toperands=$((operands + 1))\n"
	"\t\t\telse\n"
	"\t\t\t\tcommand=$word\n"
	"\t\t\tfi ;;\n";
static const char bash_walked[] =
	"\t\t-?*) ;;\n"
	"\t\t*) operands=$((operands + 1)) ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t[[ $cur != = ]] || cur=''\n"
	"\tif [[ $pending ]]; then\n"
	"\t\tcase $pending in\n";
static const char bash_to_options[] =
	"\t\tesac\n"
	"\telif [[ ! $ended && $cur == -* ]]; then\n"
	"\t\tcase $command in\n";
static const char bash_to_operands[] =
	"\t\tesac\n"
	"\telse\n"
	"\t\tcase $command:$operands in\n";
static const char bash_tail[] =
	"\t\tesac\n"
	"\tfi\n"
	"\t[[ $words ]] && mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"\treturn 0\n"
	"}\n"
	"complete -o default -F _@ @\n";

/* text with the tool's name for each "@". */
static void bash_text(const struct option_table *t, const char *text, FILE *out)
{
	for (; *text; text++)
		if (*text == '@')
			fputs(t->tool, out);
		else
			fputc(*text, out);
}

/* Is the option valid while no command was named? */
static bool bash_valid_without(const struct option_table *t, const struct option_row *r)
{
	if (r->commands == 0)
		return true;
	for (unsigned i = 0; t->commands[i].name; i++)
		if (!option_is_word(&t->commands[i]) && option_valid_for(r, i))
			return true;
	return false;
}

/* Chosen by an option; its row is one that takes an argument. */
static bool bash_chooses(const struct option_table *t, const struct option_row *r)
{
	for (const struct option_command *c = t->commands; c->name; c++)
		if (c->name[0] == '-' && !strcmp(c->name + 2, r->name))
			return true;
	return false;
}

enum bash_due { DUE_ALWAYS, DUE_CHOOSES, DUE_OPTIONAL, DUE_NEVER };

static enum bash_due bash_due(const struct option_table *t, const struct option_row *r)
{
	if (r->kind == OPTION_GROUP || r->kind == OPTION_FLAG)
		return DUE_NEVER;
	if (r->implied)
		return DUE_OPTIONAL;
	return bash_chooses(t, r) ? DUE_CHOOSES : DUE_ALWAYS;
}

/* One branch of a case: "--a | --b) what ;;", nothing without such an option. */
static void bash_branch(const struct option_table *t, enum bash_due due, const char *what,
			FILE *out)
{
	bool any = false;

	for (const struct option_row *r = option_next(t, NULL); r; r = option_next(t, r)) {
		if (bash_due(t, r) != due)
			continue;
		fprintf(out, "%s--%s", any ? " | " : "\t\t", r->name);
		if (r->letter)
			fprintf(out, " | -%c", r->letter);
		any = true;
	}
	if (any)
		fprintf(out, ") %s ;;\n", what);
}

static void bash_walk(const struct option_table *t, FILE *out)
{
	bool any = false;

	bash_branch(t, DUE_CHOOSES, "command=$word pending=$word", out);
	bash_branch(t, DUE_ALWAYS, "pending=$word", out);
	bash_branch(t, DUE_OPTIONAL, "[[ ${COMP_WORDS[i + 1]} != = ]] || pending=$word", out);
	/* From here on $ended keeps every word from being taken for an option. */
	fprintf(out, "\t\t--) ended=: ;;\n");
	for (const struct option_command *c = t->commands; c->name; c++)
		if (option_is_word(c)) {
			fprintf(out, "%s%s", any ? " | " : "\t\t", c->name);
			any = true;
		}
	if (any)
		fputs(bash_command, out);
}

static void bash_arguments(const struct option_table *t, FILE *out)
{
	for (const struct option_row *r = option_next(t, NULL); r; r = option_next(t, r)) {
		if (!r->nwords)
			continue;
		fprintf(out, "\t\t--%s) words='", r->name);
		for (size_t i = 0; i < r->nwords; i++)
			fprintf(out, "%s%s", i ? " " : "", r->words[i]);
		fprintf(out, "' ;;\n");
	}
}

/* c NULL: while no command was named. */
static void bash_options(const struct option_table *t, const struct option_command *c, FILE *out)
{
	const char *between = "";

	fprintf(out, "\t\t%s) words='", c ? c->name : "''");
	for (const struct option_row *r = option_next(t, NULL); r; r = option_next(t, r)) {
		if (r->kind == OPTION_GROUP)
			continue;
		if (c ? !option_valid_for(r, (unsigned)(c - t->commands)) :
			!bash_valid_without(t, r))
			continue;
		fprintf(out, "%s--%s", between, r->name);
		between = " ";
	}
	fprintf(out, "' ;;\n");
}

/* What operand n of a command may be, the words of commands included where one may be named. */
static void bash_operand(const struct option_table *t, const char *command, int n,
			 const char *operand, bool words, FILE *out)
{
	bool vm = !strncmp(operand, "VM", 2), host = !strncmp(operand, "HOST", 4);

	if (!vm && !host && !words)
		return;
	fprintf(out, "\t\t%s:%d) words=\"", command, n);
	if (vm)
		fprintf(out, "$(_%s_vms)", t->tool);
	if (host)
		fputs("$(compgen -A hostname)", out);
	for (const struct option_command *c = t->commands; words && c->name; c++)
		if (option_is_word(c))
			fprintf(out, " %s", c->name);
	fputs("\" ;;\n", out);
}

static void bash_operands(const struct option_table *t, FILE *out)
{
	char operand[OPTION_TEXT] = "";
	bool has_default = !t->commands[0].name[0], several = option_count(t->commands) > 1;
	bool optional;

	if (has_default)
		option_operand(t->commands, 0, operand, &optional);
	bash_operand(t, "", 0, operand, several, out);
	for (const struct option_command *c = t->commands; c->name; c++) {
		int n = has_default && c == t->commands;     /* its first is above */

		for (; option_operand(c, n, operand, &optional); n++)
			bash_operand(t, c->name, n, operand, false, out);
	}
}

void option_bash(const struct option_table *t, FILE *out)
{
	bash_text(t, bash_head, out);
	bash_walk(t, out);
	fputs(bash_walked, out);
	bash_arguments(t, out);
	fputs(bash_to_options, out);
	bash_options(t, NULL, out);
	for (const struct option_command *c = t->commands; c->name; c++)
		if (c->name[0])
			bash_options(t, c, out);
	fputs(bash_to_operands, out);
	bash_operands(t, out);
	bash_text(t, bash_tail, out);
}
