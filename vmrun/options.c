/* SPDX-License-Identifier: MIT */
#include "vmrun/options.h"

#include "libcommon/option.h"
#include "libcommon/paths.h"
#include "libcommon/units.h"
#include "vmrun/control/control_server.h"

#include <assert.h>
#include <string.h>

#define FOR(m)    (1u << MODE_##m)
#define FOR_SAVED (FOR(RESTORE) | FOR(INCOMING))
#define FOR_VM    (FOR(BOOT) | FOR_SAVED)

#define OPTIONS_LENGTH(st, m) (sizeof(((st *)0)->m) - 1)      /* of a string in a char array */
#define OPTIONS_PATH          OPTIONS_LENGTH(struct machine_host, path)

/* In the order in which they get their slots, after the disks. */
enum { DEVICE_RNG, DEVICE_CONSOLE, DEVICES };
const struct options_device options_devices[] = {
	[DEVICE_RNG]     = { "rng", &virtio_rng_ops, .host = "rng", .cls = HOST_RNG,
			     .readonly = true },
	[DEVICE_CONSOLE] = { "virtio-console", &virtio_console_ops, .host = "hvc0",
			     .cls = HOST_SERIAL },
	[DEVICES]        = { .ops = NULL },
};
static_assert(DEVICES <= OPTIONS_DEVICES_MAX, "each has a member of struct options");

static const char *const options_accels[] = { "auto", "soft", "kvm" };
static const char *const options_changed[] = { "accept" };
static const char *const options_memories[] = { "copy", "cow" };

static int options_name(void *target, const char *text, struct fail *why)
{
	if (!paths_name_ok(text))
		return fail_set(why, FAIL_USAGE,
				"invalid VM name '%.80s' (letters, digits, '.', '_', '-'; at most "
				"%d; the first a letter or digit)", text, VM_NAME_MAX);
	*(const char **)target = text;
	return 0;
}

/* [NAME=]PATH[,ro]. What is before the first '=' is a name only if it is a valid one: paths may
 * contain '=' too. */
static int options_disk(void *target, const char *text, struct fail *why)
{
	struct options      *o = target;
	struct options_disk *d;
	const char          *eq = strchr(text, '=');
	size_t               n;

	if (o->ndisks == LIMIT_HOSTS)
		return fail_set(why, FAIL_USAGE, "number of disks exceeds the limit of %u",
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
				"invalid path (valid: [NAME=]PATH[,ro], 1 to %zu characters)",
				sizeof(d->path) - 1);
	memcpy(d->path, text, n);
	d->path[n] = '\0';
	for (uint32_t i = 0; i < o->ndisks; i++)
		if (!strcmp(o->disks[i].name, d->name))
			return fail_set(why, FAIL_USAGE, "duplicate name '%s'", d->name);
	o->ndisks++;
	return 0;
}

#define OPTIONS_RAM_STEP 4096u

/* SIZE, or how a restored VM gets its memory. */
static int options_memory(void *target, const char *text, struct fail *why)
{
	struct options *o = target;
	uint64_t        size;

	(void)why;
	o->memory_cow  = !strcmp(text, options_memories[1]);
	o->memory_word = o->memory_cow || !strcmp(text, options_memories[0]);
	if (o->memory_word)
		return 0;
	if (!units_size(&size, text) || size < OPTIONS_RAM_STEP || size > LIMIT_REGION_BYTES ||
	    size % OPTIONS_RAM_STEP)
		return -1;
	o->memory = size;
	return 0;
}

static int options_serial(void *target, const char *text, struct fail *why)
{
	bool path = (!strncmp(text, "file:", 5) || !strncmp(text, "unix:", 5)) && text[5];

	if (!path && strcmp(text, "stdio") && strcmp(text, "pty") && strcmp(text, "none"))
		return -1;
	if (strlen(text) > OPTIONS_PATH)
		return fail_set(why, FAIL_USAGE, "path too long");
	*(const char **)target = text;
	return 0;
}

static int options_uuid(void *target, const char *text, struct fail *why)
{
	struct uuid *uuid = target;

	if (!strcmp(text, "new"))
		return uuid_random(uuid, why);
	return uuid_parse(uuid, text) && !uuid_is_nil(uuid) ? 0 : -1;
}

static int options_disk_changed(void *target, const char *text, struct fail *why)
{
	(void)why;
	*(bool *)target = !strcmp(text, options_changed[0]);
	return *(bool *)target ? 0 : -1;
}

#define OPTIONS_SERIAL .arg = "SPEC", .valid = "stdio, pty, file:F, unix:P, none"

static const struct option_row options_rows[] = {
	OPT_GROUP("Start"),
	{ OPT_STRING(struct options, kernel, 1, OPTIONS_PATH), .name = "kernel", .arg = "FILE",
	  .commands = FOR_VM,
	  .help = "boot this kernel; of a restored VM: at its next reset" },
	{ OPT_STRING(struct options, initrd, 1, OPTIONS_PATH), .name = "initrd", .arg = "PATH",
	  .commands = FOR_VM,
	  .help = "initial file system: an archive, or a folder to be packed" },
	{ OPT_STRING(struct options, append, 0, OPTIONS_LENGTH(struct machine, append)),
	  .name = "append", .arg = "TEXT", .commands = FOR(BOOT),
	  .help = "kernel command line" },
	{ OPT_STRING(struct options, source, 1, 4095), .name = "restore", .arg = "FILE|-",
	  .commands = FOR(RESTORE), .help = "snapshot, - for standard input" },
	{ OPT_STRING(struct options, source, 1, 4095), .name = "incoming", .arg = "FILE|-",
	  .commands = FOR(INCOMING), .help = "VM tree of a move, - for standard input" },
	{ OPT_STRING(struct options, token, 0, CONTROL_TOKEN_MAX), .name = "token", .arg = "TEXT",
	  .commands = FOR(INCOMING), .help = "names the process that may fill the VM" },
	{ OPT_FLAG(struct options, paused), .name = "paused", .commands = FOR_VM,
	  .excludes = "cont",
	  .help = "do not run before \"vmrun ctl NAME cont\"" },
	{ OPT_FLAG(struct options, cont), .name = "cont", .commands = FOR(RESTORE),
	  .help = "run, even if the VM was saved stopped" },

	OPT_GROUP("Machine"),
	{ OPT_SET(struct options, name, const char *, options_name), .name = "name", .arg = "NAME",
	  .commands = FOR_VM, .help = "of the VM and its control socket (default vm)" },
	{ .kind = OPTION_SET, .set = options_memory, .name = "memory", .arg = "SIZE|copy|cow",
	  .valid = "4K to 16T in steps of 4K; or copy, cow",
	  OPT_WORDS(options_memories), .preset = "256M",
	  .commands = FOR(BOOT) | FOR(RESTORE),
	  .help = "RAM; with --restore: copy the snapshot's (as without this option), or map it "
		  "copy-on-write" },
	{ OPT_U32(struct options, cpus, 1, LIMIT_CPUS), .name = "cpus", .arg = "N", .preset = "1",
	  .commands = FOR(BOOT), .help = "number of CPUs" },
	{ OPT_STRING(struct options, cpu, 1, OPTIONS_LENGTH(struct machine, cpu_model)),
	  .name = "cpu", .arg = "MODEL[,+FEATURE|,-FEATURE]...", .commands = FOR(BOOT),
	  .help = "CPU model of a KVM guest (default host)" },
	{ OPT_SET(struct options, uuid, struct uuid, options_uuid), .name = "uuid",
	  .arg = "UUID|new", .valid = "new, or a UUID, not nil",
	  .commands = FOR(BOOT) | FOR(RESTORE),
	  .help = "identity of the VM (default: a new one; restored: as saved)" },
	{ OPT_CHOICE(struct options, accel, options_accels), .name = "accel", .preset = "auto",
	  .commands = FOR_VM,
	  .help = "accelerator" },
	{ OPT_WORD(struct options, on_reboot, reboot_policy_names), .name = "on-reboot",
	  .commands = FOR_VM,
	  .help = "when the guest reboots (default reset; restored: as saved)" },
	{ OPT_WORD(struct options, clock, clock_policy_names), .name = "clock", .preset = "freeze",
	  .commands = FOR_VM, .help = "guest clock after a restore or move" },

	OPT_GROUP("Devices"),
	{ OPT_COLLECT(options_disk), .name = "disk", .arg = "[NAME=]PATH[,ro]", .commands = FOR_VM,
	  .help = "virtio disk" },
	{ OPT_FLAG(struct options, devices[DEVICE_RNG].given), .name = "rng",
	  .commands = FOR(BOOT), .help = "virtio entropy source" },
	{ OPT_SET(struct options, serial, const char *, options_serial), .name = "serial",
	  OPTIONS_SERIAL, .commands = FOR_VM,
	  .help = "serial port: stdio, pty, file:F, unix:P or none (default stdio)" },
	{ OPT_SET(struct options, devices[DEVICE_CONSOLE].arg, const char *, options_serial),
	  .name = "virtio-console", OPTIONS_SERIAL, .commands = FOR_VM,
	  .help = "virtio console, as --serial" },
	{ OPT_STRING(struct options, control, 1, OPTIONS_PATH), .name = "control", .arg = "PATH",
	  .commands = FOR_VM, .help = "control socket (default: in the runtime folder)" },

	OPT_GROUP("Saved VMs"),
	{ OPT_FLAG(struct options, trust_paths), .name = "trust-paths", .commands = FOR_SAVED,
	  .help = "open the files that are recorded" },
	{ OPT_SET(struct options, disk_changed_ok, bool, options_disk_changed),
	  OPT_WORDS(options_changed), .name = "disk-changed", .commands = FOR_SAVED,
	  .help = "use disks that were written since" },
	{ OPT_FLAG(struct options, force_tsc), .name = "force-tsc", .commands = FOR_SAVED,
	  .help = "ignore another frequency of the time stamp counter" },
	{ OPT_FLAG(struct options, overcommit), .name = "overcommit", .commands = FOR_SAVED,
	  .help = "allow more RAM than this host has" },

	OPT_GROUP("Options of list and info"),
	{ OPT_FLAG(struct options, json), .name = "json", .commands = FOR(LIST) | FOR(INFO),
	  .help = "print JSON" },
	OPT_END
};

static const struct option_command options_commands[] = {
	[MODE_BOOT]     = { "",           "", "boot a VM" },
	[MODE_RESTORE]  = { "--restore",  "", "restore a VM from a snapshot" },
	[MODE_INCOMING] = { "--incoming", "", "wait for a move, as vmmigrate does by itself" },
	[MODE_LIST]     = { "list",       "", "list running VMs" },
	[MODE_CTL]      = { "ctl",        "VM COMMAND [key=value]...",
			    "run a QMP command (see query-commands); or VM wait EVENT "
			    "[timeout=SECONDS]" },
	[MODE_INFO]     = { "info",       "", "show accelerators, capabilities, limits" },
	[MODE_SELFTEST] = { "selftest",   "[ACCELERATOR]", "test each accelerator" },
	{ NULL, NULL, NULL },
};

static const struct option_table options_table = {
	.tool = "vmrun", .usage = "--kernel FILE [OPTION]... | COMMAND [OPTION]...",
	.commands = options_commands, .rows = options_rows,
	.about = "Runs a virtual machine in the foreground.",
};

static bool options_stdio(const char *serial)
{
	return serial && !strcmp(serial, "stdio");
}

/* What the table cannot say. */
static int options_fit(const struct options *o, const struct option_parsed *p, struct fail *why)
{
	const char *console = o->devices[DEVICE_CONSOLE].arg;

	if (o->memory_word && o->mode == MODE_BOOT)
		return fail_set(why, FAIL_USAGE, "--memory %s requires --restore",
				o->memory_cow ? "cow" : "copy");
	if (o->mode == MODE_RESTORE && !o->memory_word && option_given(&options_table, p, "memory"))
		return fail_set(why, FAIL_USAGE,
				"--memory SIZE and --restore are mutually exclusive (valid: copy, "
				"cow)");
	if (o->memory_cow && !strcmp(o->source, "-"))
		return fail_set(why, FAIL_USAGE, "--memory cow requires a file, not standard "
				"input; use --memory copy");
	if (options_stdio(o->serial) && options_stdio(console))
		return fail_set(why, FAIL_USAGE,
				"--serial stdio and --virtio-console stdio are mutually exclusive");
	if (o->mode == MODE_BOOT && !o->kernel)
		return fail_set(why, FAIL_USAGE,
				"missing --kernel FILE (or --restore, --incoming; see --help)");
	if (o->mode == MODE_BOOT && !o->serial && options_stdio(console))
		return fail_set(why, FAIL_USAGE,
				"--virtio-console stdio requires --serial none, pty, ...");
	for (uint32_t i = 0; o->mode != MODE_BOOT && i < o->ndisks; i++)
		if (!o->disks[i].named)
			return fail_set(why, FAIL_USAGE,
					"--disk with %s: missing name (valid: NAME=PATH)",
					options_commands[o->mode].name);
	return 0;
}

int options_parse(struct options *o, int argc, char **argv, struct fail *why)
{
	struct option_parsed p;

	*o = (struct options){ .on_reboot = -1 };
	if (option_parse(&options_table, o, argc, argv, &p, why))
		return -1;
	option_act(&options_table, &p);
	o->mode      = (enum options_mode)p.command;
	o->noperands = p.noperands;
	o->operands  = p.operands;
	return options_fit(o, &p, why);
}
