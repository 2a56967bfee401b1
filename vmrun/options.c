/* SPDX-License-Identifier: MIT */
#include "vmrun/options.h"

#include "libcommon/paths.h"
#include "libcommon/units.h"
#include "vmrun/control/control.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

const char options_usage[] =
	"usage: vmrun --kernel FILE [--name NAME] [--initrd FILE|DIR] [--append TEXT] [--memory 256M] [--cpus N]\n"
	"             [--disk [NAME=]PATH[,ro]]... [--rng] [--serial stdio|pty|file:F|unix:P|none]\n"
	"             [--virtio-console SPEC] [--accel auto|soft|kvm] [--cpu MODEL[,+FEATURE|,-FEATURE]...]\n"
	"             [--on-reboot reset|exit|pause]\n"
	"             [--clock freeze|advance] [--paused] [--control PATH] [--uuid UUID|new]\n"
	"       vmrun --restore FILE|-  [--disk NAME=PATH]... [--trust-paths] [--disk-changed=accept] [--force-tsc]\n"
	"             [--overcommit] [overrides]\n"
	"       vmrun --incoming FILE|- [--disk NAME=PATH]... [--trust-paths] [--disk-changed=accept] [--force-tsc]\n"
	"             [--overcommit] [overrides]\n"
	"       overrides: --name --serial --virtio-console --kernel --initrd --accel --on-reboot --clock --paused\n"
	"                  --control, and with --restore --uuid --cont\n";

enum {
	OPT_NAME = 256, OPT_KERNEL, OPT_INITRD, OPT_APPEND, OPT_MEMORY, OPT_CPUS, OPT_DISK, OPT_RNG, OPT_SERIAL, OPT_CONSOLE, OPT_ACCEL,
	OPT_ON_REBOOT, OPT_CLOCK, OPT_PAUSED, OPT_CONTROL, OPT_UUID, OPT_RESTORE, OPT_INCOMING, OPT_TRUST, OPT_CHANGED, OPT_CPU,
	OPT_FORCE_TSC, OPT_TOKEN, OPT_OVERCOMMIT, OPT_CONT, OPT_HELP, OPT_VERSION,
};

static const struct option options_long[] = {
	{ "name", required_argument, NULL, OPT_NAME },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "rng", no_argument, NULL, OPT_RNG },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "virtio-console", required_argument, NULL, OPT_CONSOLE },
	{ "accel", required_argument, NULL, OPT_ACCEL },
	{ "on-reboot", required_argument, NULL, OPT_ON_REBOOT },
	{ "clock", required_argument, NULL, OPT_CLOCK },
	{ "paused", no_argument, NULL, OPT_PAUSED },
	{ "cont", no_argument, NULL, OPT_CONT },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "uuid", required_argument, NULL, OPT_UUID },
	{ "restore", required_argument, NULL, OPT_RESTORE },
	{ "incoming", required_argument, NULL, OPT_INCOMING },
	{ "trust-paths", no_argument, NULL, OPT_TRUST },
	{ "disk-changed", required_argument, NULL, OPT_CHANGED },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "force-tsc", no_argument, NULL, OPT_FORCE_TSC },
	{ "token", required_argument, NULL, OPT_TOKEN },
	{ "overcommit", no_argument, NULL, OPT_OVERCOMMIT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* The place of text among n words, or -1 with *why listing them. */
static int options_word(const char *option, const char *text, const char *const words[], int n, struct fail *why)
{
	char list[80] = "";

	for (int i = 0; i < n; i++) {
		if (!strcmp(text, words[i]))
			return i;
		size_t at = strlen(list);

		snprintf(list + at, sizeof(list) - at, "%s%s", i ? ", " : "", words[i]);
	}
	return fail_set(why, FAIL_USAGE, "--%s: invalid value '%.40s' (valid: %s)", option, text,
			list);
}

/* [NAME=]PATH[,ro]. What stands before the first '=' is a name only when it can be one: paths may hold '=' too. */
static int options_disk(struct options *o, const char *text, struct fail *why)
{
	struct options_disk *d;
	const char          *eq = strchr(text, '=');
	size_t               n;

	if (o->ndisks == LIMIT_HOSTS)
		return fail_set(why, FAIL_USAGE, "--disk: number of disks exceeds the limit of %u",
				LIMIT_HOSTS);
	d  = &o->disks[o->ndisks];
	*d = (struct options_disk){ 0 };
	if (eq && (size_t)(eq - text) < sizeof(d->name)) {
		memcpy(d->name, text, (size_t)(eq - text));
		d->named = paths_name_ok(d->name);
	}
	if (d->named)
		text = eq + 1;
	else
		snprintf(d->name, sizeof(d->name), "disk%u", o->ndisks);
	n = strlen(text);
	if (n >= 3 && !strcmp(text + n - 3, ",ro")) {
		d->readonly = true;
		n -= 3;
	}
	if (n == 0 || n >= sizeof(d->path))
		return fail_set(why, FAIL_USAGE,
			"--disk: invalid path (valid: [NAME=]PATH[,ro], 1 to %zu characters)",
			sizeof(d->path) - 1);
	memcpy(d->path, text, n);
	d->path[n] = '\0';
	for (uint32_t i = 0; i < o->ndisks; i++)
		if (!strcmp(o->disks[i].name, d->name))
			return fail_set(why, FAIL_USAGE, "--disk: duplicate name '%s'", d->name);
	o->ndisks++;
	return 0;
}

static int options_serial(const char *option, const char *text, struct fail *why)
{
	if (!strcmp(text, "stdio") || !strcmp(text, "pty") || !strcmp(text, "none"))
		return 0;
	if ((!strncmp(text, "file:", 5) || !strncmp(text, "unix:", 5)) && text[5]) {
		if (strlen(text) < sizeof(((struct machine_host *)0)->path))
			return 0;
		return fail_set(why, FAIL_USAGE, "--%s: path too long", option);
	}
	return fail_set(why, FAIL_USAGE,
			"--%s: invalid value '%.80s' (valid: stdio, pty, file:F, unix:P, none)",
			option, text);
}

static int options_source(struct options *o, enum options_mode mode, const char *source, struct fail *why)
{
	if (o->source)
		return fail_set(why, FAIL_USAGE,
				"--restore and --incoming are mutually exclusive, and valid once");
	if (!source[0])
		return fail_set(why, FAIL_USAGE,
				"--restore, --incoming: missing file name (- for standard input)");
	o->mode   = mode;
	o->source = source;
	return 0;
}

static int options_path(const char *option, const char *text, const char **out, struct fail *why)
{
	if (!text[0] || strlen(text) >= sizeof(((struct machine_host *)0)->path))
		return fail_set(why, FAIL_USAGE,
				"--%s: invalid path length (valid: 1 to %zu characters)", option,
				sizeof(((struct machine_host *)0)->path) - 1);
	*out = text;
	return 0;
}

static int options_one(struct options *o, int opt, const char *arg, struct fail *why)
{
	static const char *const accels[] = { "auto", "soft", "kvm" };
	uint64_t                 n;
	int                      word;

	switch (opt) {
	case OPT_NAME:
		if (!paths_name_ok(arg))
			return fail_set(why, FAIL_USAGE,
				"--name '%.80s': invalid VM name (letters, digits, '.', '_', "
				"'-'; at most %d; the first a letter or digit)",
				arg, VM_NAME_MAX);
		o->name = arg;
		return 0;
	case OPT_KERNEL: return options_path("kernel", arg, &o->kernel, why);
	case OPT_INITRD: return options_path("initrd", arg, &o->initrd, why);
	case OPT_CONTROL: return options_path("control", arg, &o->control, why);
	case OPT_APPEND:
		if (strlen(arg) >= sizeof(((struct machine *)0)->append))
			return fail_set(why, FAIL_USAGE, "--append: longer than %zu characters", sizeof(((struct machine *)0)->append) - 1);
		o->append = arg;
		return 0;
	case OPT_MEMORY:
		if (!units_size(&o->memory, arg) || o->memory == 0 || o->memory % 4096 || o->memory > LIMIT_REGION_BYTES)
			return fail_set(why, FAIL_USAGE,
				"--memory: invalid size '%.40s' (valid: 4K to 16T in steps of 4K)",
				arg);
		return 0;
	case OPT_CPUS:
		if (!units_number(&n, arg, 1, LIMIT_CPUS))
			return fail_set(why, FAIL_USAGE,
					"--cpus: invalid value '%.40s' (valid: 1 to %u)", arg,
					LIMIT_CPUS);
		o->cpus = (uint32_t)n;
		return 0;
	case OPT_CPU:
		if (!arg[0] || strlen(arg) >= sizeof(((struct machine *)0)->cpu_model))
			return fail_set(why, FAIL_USAGE,
					"--cpu: invalid value '%.40s' (for example x86-64-v2,+avx)",
					arg);
		o->cpu = arg;
		return 0;
	case OPT_FORCE_TSC: o->force_tsc = true; return 0;
	case OPT_OVERCOMMIT: o->overcommit = true; return 0;
	case OPT_DISK: return options_disk(o, arg, why);
	case OPT_RNG: o->rng = true; return 0;
	case OPT_SERIAL: o->serial = arg; return options_serial("serial", arg, why);
	case OPT_CONSOLE: o->virtio_console = arg; return options_serial("virtio-console", arg, why);
	case OPT_ACCEL: o->accel = arg; return options_word("accel", arg, accels, 3, why) < 0 ? -1 : 0;
	case OPT_ON_REBOOT:
		o->on_reboot = options_word("on-reboot", arg, reboot_policy_names, REBOOT_POLICIES, why);
		return o->on_reboot < 0 ? -1 : 0;
	case OPT_CLOCK:
		word = options_word("clock", arg, clock_policy_names, CLOCK_POLICIES, why);
		if (word >= 0)
			o->clock = (enum clock_policy)word;
		return word < 0 ? -1 : 0;
	case OPT_PAUSED: o->paused = true; return 0;
	case OPT_TOKEN:
		if (strlen(arg) > CONTROL_TOKEN_MAX)
			return fail_set(why, FAIL_USAGE, "--token: longer than %u characters", CONTROL_TOKEN_MAX);
		o->token = arg;
		return 0;
	case OPT_CONT: o->cont = true; return 0;
	case OPT_UUID:
		if (!strcmp(arg, "new"))
			return uuid_random(&o->uuid, why);
		if (!uuid_parse(&o->uuid, arg) || uuid_is_nil(&o->uuid))
			return fail_set(why, FAIL_USAGE,
				"--uuid: invalid value '%.60s' (valid: new, or a UUID, not nil)",
				arg);
		return 0;
	case OPT_RESTORE: return options_source(o, MODE_RESTORE, arg, why);
	case OPT_INCOMING: return options_source(o, MODE_INCOMING, arg, why);
	case OPT_TRUST: o->trust_paths = true; return 0;
	case OPT_CHANGED:
		if (strcmp(arg, "accept"))
			return fail_set(why, FAIL_USAGE,
					"--disk-changed: invalid value '%.40s' (valid: accept)",
					arg);
		o->disk_changed_ok = true;
		return 0;
	default:
		return fail_set(why, FAIL_USAGE, "unknown option");
	}
}

/* What a snapshot brings itself can't be given; what only a snapshot has can't be asked for without one. */
static int options_fit(const struct options *o, struct fail *why)
{
	if (o->token && o->mode != MODE_INCOMING)
		return fail_set(why, FAIL_USAGE, "--token requires --incoming");
	if (o->serial && o->virtio_console && !strcmp(o->serial, "stdio") && !strcmp(o->virtio_console, "stdio"))
		return fail_set(why, FAIL_USAGE,
				"--serial stdio and --virtio-console stdio are mutually exclusive");
	if (o->cont && o->mode != MODE_RESTORE)
		return fail_set(why, FAIL_USAGE, "--cont requires --restore");
	if (o->cont && o->paused)
		return fail_set(why, FAIL_USAGE, "--cont and --paused are mutually exclusive");
	if (o->mode == MODE_BOOT) {
		if (!o->kernel)
			return fail_set(why, FAIL_USAGE,
				"missing --kernel FILE (or --restore, --incoming; see --help)");
		if (o->trust_paths || o->disk_changed_ok)
			return fail_set(why, FAIL_USAGE,
				"--trust-paths and --disk-changed require --restore or --incoming");
		if (o->force_tsc || o->overcommit)
			return fail_set(why, FAIL_USAGE, "%s requires --restore or --incoming",
					o->force_tsc ? "--force-tsc" : "--overcommit");
		if (!o->serial && o->virtio_console && !strcmp(o->virtio_console, "stdio"))
			return fail_set(why, FAIL_USAGE,
				"--virtio-console stdio requires --serial none, pty, ...");
		return 0;
	}
	const char *word = o->mode == MODE_RESTORE ? "--restore" : "--incoming";
	const char *bad  = o->append ? "--append" : o->memory ? "--memory" : o->cpus ? "--cpus" : o->rng ? "--rng" : o->cpu ? "--cpu" : NULL;

	if (bad)
		return fail_set(why, FAIL_USAGE,
				"%s and %s are mutually exclusive: part of the saved machine", bad,
				word);
	if (o->mode == MODE_INCOMING && !uuid_is_nil(&o->uuid))
		return fail_set(why, FAIL_USAGE,
			"--uuid and --incoming are mutually exclusive: a move keeps the UUID");
	for (uint32_t i = 0; i < o->ndisks; i++)
		if (!o->disks[i].named)
			return fail_set(why, FAIL_USAGE,
					"--disk with %s: missing name (valid: NAME=PATH)", word);
	return 0;
}

int options_parse(struct options *o, int argc, char **argv, struct fail *why)
{
	int opt;

	*o     = (struct options){ .accel = "auto", .on_reboot = -1, .clock = CLOCK_FREEZE };
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:hV", options_long, NULL)) != -1) {
		if (opt == OPT_HELP || opt == 'h' || opt == OPT_VERSION || opt == 'V') {
			o->mode = opt == OPT_HELP || opt == 'h' ? MODE_HELP : MODE_VERSION;
			return 0;
		}
		if (opt == ':')
			return fail_set(why, FAIL_USAGE, "%.80s requires an argument",
					argv[optind - 1]);
		if (opt == '?')
			return fail_set(why, FAIL_USAGE,
				"%.80s: unknown option, or unexpected argument (see --help)",
				argv[optind - 1]);
		if (options_one(o, opt, optarg, why))
			return -1;
	}
	if (optind < argc)
		return fail_set(why, FAIL_USAGE,
			"'%.80s': unexpected operand (commands: list, ctl, info, selftest)",
			argv[optind]);
	return options_fit(o, why);
}
