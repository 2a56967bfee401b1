/* SPDX-License-Identifier: MIT */
#include "vmrun/commands/ctl.h"

#include "vmrun/commands/commands.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CTL_TIMEOUT_MS 120000u     /* enough for a pulse or a pause of a large VM */

static int ctl_usage(void)
{
	fprintf(stderr, "usage: vmrun ctl VM COMMAND [key=value]...\n"
		"       vmrun ctl VM wait EVENT [timeout=SECONDS]\n"
		"COMMAND: a QMP command (see query-commands), with or without \"vmferry-\".\n"
		"Values are parsed as JSON, otherwise taken as strings.\n");
	return 2;
}

/* Results go to stdout: indented on a terminal, else on one line. */
static int ctl_print(const json_t *value)
{
	size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;

	json_dumpf(value, stdout, flags | JSON_ENCODE_ANY);
	putchar('\n');
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}

/* Arguments that are always text. A relative path is relative to this process's folder, which vmrun
 * does not know. */
static const struct ctl_text {
	const char *command, *key;
	bool        path;
} ctl_texts[] = {
	{ "set-boot", "kernel", true },
	{ "set-boot", "initrd", true },
	{ "set-boot", "append", false },
};

static const struct ctl_text *ctl_text(const char *command, const char *key)
{
	if (!strncmp(command, "vmferry-", 8))
		command += 8;
	for (size_t i = 0; i < sizeof(ctl_texts) / sizeof(ctl_texts[0]); i++)
		if (!strcmp(command, ctl_texts[i].command) && !strcmp(key, ctl_texts[i].key))
			return &ctl_texts[i];
	return NULL;
}

static json_t *ctl_value(const struct ctl_text *text, const char *value, struct fail *why)
{
	char    here[4096], path[8192];
	json_t *v = text ? NULL : json_loads(value, JSON_DECODE_ANY, NULL);

	if (text && text->path && value[0] && value[0] != '/') {
		if (!getcwd(here, sizeof(here))) {
			fail_sys(why, "current directory");
			return NULL;
		}
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", here, value) >= sizeof(path)) {
			fail_set(why, FAIL_USAGE, "'%.80s': path too long", value);
			return NULL;
		}
		value = path;
	}
	if (!v)
		v = json_string(value);
	if (!v)
		fail_set(why, FAIL_USAGE, "'%.80s': not valid UTF-8", value);
	return v;
}

/* Arguments from key=value...: a value that is JSON as that, else as text. NULL with *why when
 * there is no '='. */
static json_t *ctl_arguments(const char *command, int argc, char **argv, struct fail *why)
{
	json_t *args = json_object();

	for (int i = 0; i < argc; i++) {
		const char *eq = strchr(argv[i], '=');
		json_t     *value;
		char        key[80];

		if (!eq || eq == argv[i] || (size_t)(eq - argv[i]) >= sizeof(key)) {
			fail_set(why, FAIL_USAGE, "'%.80s': invalid argument (valid: key=value)",
					argv[i]);
			json_decref(args);
			return NULL;
		}
		snprintf(key, sizeof(key), "%.*s", (int)(eq - argv[i]), argv[i]);
		value = ctl_value(ctl_text(command, key), eq + 1, why);
		if (value && json_object_set_new(args, key, value)) {
			fail_set(why, FAIL_USAGE, "'%.80s': not valid UTF-8", argv[i]);
			value = NULL;
		}
		if (!value) {
			json_decref(args);
			return NULL;
		}
	}
	return args;
}

/* The name by which this VM knows the command: with the prefix if it knows only that one. */
static int ctl_command(struct control *c, const char *command, char *out, size_t capacity,
		       struct fail *why)
{
	json_t *list, *row;
	size_t  i;
	bool    plain = false, prefixed = false;
	char    name[128];

	if (control_execute(c, "query-commands", NULL, &list, NULL, NULL, CTL_TIMEOUT_MS, why))
		return -1;
	snprintf(name, sizeof(name), "vmferry-%s", command);
	json_array_foreach(list, i, row) {
		const char *known = json_string_value(json_object_get(row, "name"));

		plain    |= known && !strcmp(known, command);
		prefixed |= known && !strcmp(known, name);
	}
	json_decref(list);
	snprintf(out, capacity, "%s", !plain && prefixed ? name : command);
	return 0;
}

static int ctl_execute(const char *vm, const char *command, json_t *args)
{
	struct control *c = NULL;
	struct fail     why = { 0 };
	json_t         *ret = NULL;
	char            name[128], class[64] = "";
	int             rc, fd = -1;

	if (control_open(&c, vm, &why))
		return fail_report("vmrun", &why);
	rc = ctl_command(c, command, name, sizeof(name), &why);
	if (rc == 0)
		rc = control_execute(c, name, args, &ret, &fd, class, CTL_TIMEOUT_MS, &why);
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		rc = ctl_print(ret);
	else if (class[0])
		rc = (fail_report("vmrun", &why), 1);     /* the VM has refused */
	else
		rc = fail_report("vmrun", &why);
	json_decref(ret);
	control_close(c);
	return rc;
}

static int ctl_wait_main(const char *vm, int argc, char **argv)
{
	struct fail why = { 0 };
	json_t     *event;
	double      seconds = 0;
	char       *end;

	if (argc < 1 || argc > 2)
		return ctl_usage();
	if (argc == 2) {
		if (strncmp(argv[1], "timeout=", 8))
			return ctl_usage();
		seconds = strtod(argv[1] + 8, &end);
		if (end == argv[1] + 8 || *end || !isfinite(seconds) || seconds <= 0 ||
		    seconds > 4000000)
			return ctl_usage();
	}
	/* 0 would be no limit. */
	unsigned ms = seconds > 0 && seconds * 1000 < 1 ? 1 : (unsigned)(seconds * 1000);

	if (ctl_wait(vm, argv[0], ms, &event, &why))
		return fail_report("vmrun", &why);
	int rc = ctl_print(event);

	json_decref(event);
	return rc;
}

int ctl_main(int noperands, char **operands)
{
	struct fail why = { 0 };
	json_t     *args;
	int         rc;

	if (!strcmp(operands[1], "wait"))
		return ctl_wait_main(operands[0], noperands - 2, operands + 2);
	args = ctl_arguments(operands[1], noperands - 2, operands + 2, &why);
	if (!args) {
		fail_report("vmrun", &why);
		return ctl_usage();
	}
	rc = ctl_execute(operands[0], operands[1], args);
	json_decref(args);
	return rc;
}
