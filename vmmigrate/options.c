/* SPDX-License-Identifier: MIT */
#include "vmmigrate/options.h"

#include "libcommon/client/copy_options.h"
#include "libcommon/fail.h"

#include <string.h>

#define FOR(v) (1u << VERB_##v)

static int options_address(void *target, const char *text, struct fail *why)
{
	return address_parse(target, text, true, why);
}

static const struct option_row options_rows[] = {
	OPT_GROUP("Connection"),
	{ OPT_FLAG(struct options, insecure), .name = "insecure",
	  .commands = FOR(MOVE) | FOR(LISTEN) | FOR(RESUME) | FOR(RESOLVE),
	  .help = "accept a connection without encryption or authentication" },
	{ OPT_SIZE(struct options, bandwidth, 64 << 10, UINT64_MAX), .name = "bandwidth",
	  .arg = "SIZE", .commands = FOR(MOVE),
	  .help = "limit in bytes per second while the guest runs" },
	{ OPT_TIME(struct options, handover_timeout_ns, OPTION_MS, 24 * 3600 * OPTION_S),
	  .name = "handover-timeout", .arg = "TIME", .preset = "60s",
	  .commands = FOR(MOVE) | FOR(RESUME),
	  .help = "time to retry the target once the VM is released to it" },
	{ OPT_SET(struct options, ask, struct address, options_address), .name = "ask",
	  .arg = "[ADDR]:PORT", .preset = ":" ADDRESS_PORT, .commands = FOR(MOVE),
	  .help = "address of the listener here that the target queries" },
	{ OPT_SET(struct options, answer_at, struct address, options_address), .name = "answer",
	  .arg = "[ADDR]:PORT", .commands = FOR(MOVE),
	  .help = "answer the target's queries here during the move" },
	OPT_GROUP("Moving"),
	COPY_ROWS(struct options, FOR(MOVE), "300ms", "30s"),
	{ OPT_FLAG(struct options, audit), .name = "audit", .commands = FOR(MOVE),
	  .help = "compare source and target memory during the pause" },
	COPY_REPORT_ROWS(struct options, FOR(MOVE) | FOR(RESUME)),
	OPT_GROUP("Listening"),
	{ OPT_SET(struct options, to, struct address, options_address), .name = "listen",
	  .arg = "[ADDR]:PORT", .commands = FOR(LISTEN),
	  .help = "receive VMs; port 0: a free one" },
	{ OPT_FLAG(struct options, once), .name = "once", .commands = FOR(LISTEN),
	  .help = "end after one move" },
	{ OPT_STRING(struct options, spawn, 0, UINT64_MAX), .name = "spawn", .arg = "CMD",
	  .commands = FOR(LISTEN), .help = "shell words that start vmrun" },
	{ OPT_SIZE(struct options, image_cache, 0, UINT64_MAX), .name = "image-cache",
	  .arg = "SIZE", .preset = "1G", .commands = FOR(LISTEN),
	  .help = "kernels and initrds kept for later moves" },
	OPT_GROUP("Resolving"),
	{ OPT_FLAG(struct options, own), .name = "own", .commands = FOR(RESOLVE),
	  .excludes = "disown",
	  .help = "this host owns the VM" },
	{ OPT_FLAG(struct options, disown), .name = "disown", .commands = FOR(RESOLVE),
	  .help = "this host does not own the VM" },
	{ OPT_FLAG(struct options, peer_is_dead), .name = "peer-is-dead", .commands = FOR(RESOLVE),
	  .help = "confirm that the other host will never run the VM" },
	{ OPT_FLAG(struct options, yes), .name = "yes", .commands = FOR(RESOLVE),
	  .help = "do not ask for confirmation" },
	OPT_END
};

static const struct option_command options_commands[] = {
	[VERB_MOVE]    = { "", "VM HOST[:PORT]", "move a running VM to the listener there" },
	[VERB_LISTEN]  = { "--listen", "[OVERRIDE]...",
			   "receive VMs; after \"--\": options for their vmrun" },
	[VERB_STATUS]  = { "status", "[VM|UUID]", "show the records of moves" },
	[VERB_RESUME]  = { "resume", "VM|UUID", "continue an interrupted hand-over" },
	[VERB_RESOLVE] = { "resolve", "VM|UUID", "decide with --own or --disown who owns a VM" },
	{ NULL, NULL, NULL },
};

static const struct option_table options_table = {
	.tool = "vmmigrate", .usage = "[COMMAND] [OPTION]... [OPERAND]...",
	.commands = options_commands, .rows = options_rows,
	.about = "Moves a running virtual machine to another host.",
};

/* What the operands of the verb make of it. */
static int options_operands(struct options *o, const struct option_parsed *p, struct fail *why)
{
	switch (o->verb) {
	case VERB_LISTEN:
		o->overrides = p->operands;
		return 0;
	case VERB_MOVE:
		o->vm = p->operands[0];
		if (address_parse(&o->to, p->operands[1], false, why))
			return -1;
		if (!strcmp(o->to.port, "0"))
			return fail_set(why, FAIL_USAGE,
					"%.80s: invalid port 0 (valid: 1 to 65535)",
					p->operands[1]);
		return 0;
	case VERB_RESOLVE:
		if (!o->own && !o->disown)
			return fail_set(why, FAIL_USAGE,
					"resolve requires either --own or --disown");
		break;
	case VERB_STATUS:
	case VERB_RESUME:
		break;
	}
	o->vm = p->operands[0];
	return 0;
}

void options_parse(struct options *o, int argc, char **argv)
{
	struct option_parsed p;
	struct fail          why;

	*o = (struct options){ .verb = VERB_MOVE };
	if (option_parse(&options_table, o, argc, argv, &p, &why))
		option_refuse(&options_table, &why);
	option_act(&options_table, &p);
	o->verb   = (enum verb)p.command;
	o->answer = option_given(&options_table, &p, "answer");
	if (o->quiet)
		o->progress = PROGRESS_NONE;
	if (options_operands(o, &p, &why))
		option_refuse(&options_table, &why);
}
