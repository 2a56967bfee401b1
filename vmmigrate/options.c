/* SPDX-License-Identifier: MIT */
#include "vmmigrate/options.h"

#include "libcommon/fail.h"
#include "libcommon/units.h"
#include "libcommon/version.h"
#include "vmmigrate/image_cache.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_text[] =
	"usage: vmmigrate [options] VM HOST[:PORT]           move a running VM to the listener there\n"
	"       vmmigrate --listen [ADDR]:PORT [--once] [--insecure] [--spawn CMD] [--image-cache SIZE] [-- VMRUN-OVERRIDES...]\n"
	"       vmmigrate status [VM|UUID]                   show the records of moves\n"
	"       vmmigrate resume VM|UUID                     continue an interrupted hand-over\n"
	"       vmmigrate resolve VM|UUID --own|--disown [--peer-is-dead] [--yes]\n"
	"                                                    decide who owns a VM\n"
	"options of a move:\n"
	"  --insecure                accept a connection without encryption or authentication\n"
	"  --compress[=LEVEL]        compress with zstd (default level: 1)\n"
	"  --max-downtime TIME       maximum downtime to aim at (300ms)\n"
	"  --max-rounds N            maximum number of pre-copy rounds (30)\n"
	"  --pause-deadline TIME     vmrun ends the pause after TIME (30s)\n"
	"  --handover-timeout TIME   time to retry the target once the VM is released to it (60s)\n"
	"  --bandwidth SIZE          limit in bytes per second while the guest runs\n"
	"  --audit                   compare source and target memory during the pause\n"
	"  --ask [ADDR]:PORT         address of the listener here that the target queries (:4649)\n"
	"  --answer [ADDR]:PORT      answer the target's queries here during the move\n"
	"  --progress auto|line|json|none\n";

static void usage_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void usage_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("vmmigrate: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n%s", usage_text);
	exit(2);
}

static void usage_fail_why(const struct fail *why) __attribute__((noreturn));
static void usage_fail_why(const struct fail *why)
{
	exit(fail_report("vmmigrate", why));
}

enum { OPT_LISTEN = 256, OPT_ONCE, OPT_INSECURE, OPT_SPAWN, OPT_COMPRESS, OPT_DOWNTIME, OPT_ROUNDS, OPT_DEADLINE, OPT_TIMEOUT,
       OPT_BANDWIDTH, OPT_AUDIT, OPT_ANSWER, OPT_ASK, OPT_PROGRESS, OPT_OWN, OPT_DISOWN, OPT_YES, OPT_DEAD, OPT_CACHE, OPT_HELP, OPT_VERSION };

/* Which verbs take an option: a set of 1 << enum verb. */
static const struct option options_long[] = {
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "insecure", no_argument, NULL, OPT_INSECURE },
	{ "spawn", required_argument, NULL, OPT_SPAWN },
	{ "compress", optional_argument, NULL, OPT_COMPRESS },
	{ "max-downtime", required_argument, NULL, OPT_DOWNTIME },
	{ "max-rounds", required_argument, NULL, OPT_ROUNDS },
	{ "pause-deadline", required_argument, NULL, OPT_DEADLINE },
	{ "handover-timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "bandwidth", required_argument, NULL, OPT_BANDWIDTH },
	{ "audit", no_argument, NULL, OPT_AUDIT },
	{ "answer", required_argument, NULL, OPT_ANSWER },
	{ "ask", required_argument, NULL, OPT_ASK },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "own", no_argument, NULL, OPT_OWN },
	{ "disown", no_argument, NULL, OPT_DISOWN },
	{ "yes", no_argument, NULL, OPT_YES },
	{ "peer-is-dead", no_argument, NULL, OPT_DEAD },
	{ "image-cache", required_argument, NULL, OPT_CACHE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

#define FOR(v) (1u << VERB_##v)
static const unsigned options_for[] = {
	[OPT_LISTEN - 256] = FOR(LISTEN),   [OPT_ONCE - 256] = FOR(LISTEN),   [OPT_SPAWN - 256] = FOR(LISTEN),
	[OPT_INSECURE - 256] = FOR(LISTEN) | FOR(MOVE) | FOR(RESUME) | FOR(RESOLVE),
	[OPT_COMPRESS - 256] = FOR(MOVE),   [OPT_DOWNTIME - 256] = FOR(MOVE), [OPT_ROUNDS - 256] = FOR(MOVE),
	[OPT_DEADLINE - 256] = FOR(MOVE),   [OPT_TIMEOUT - 256] = FOR(MOVE) | FOR(RESUME),
	[OPT_BANDWIDTH - 256] = FOR(MOVE),  [OPT_AUDIT - 256] = FOR(MOVE),    [OPT_ANSWER - 256] = FOR(MOVE),
	[OPT_ASK - 256] = FOR(MOVE),
	[OPT_PROGRESS - 256] = FOR(MOVE) | FOR(RESUME),
	[OPT_OWN - 256] = FOR(RESOLVE),     [OPT_DISOWN - 256] = FOR(RESOLVE), [OPT_YES - 256] = FOR(RESOLVE),
	[OPT_DEAD - 256] = FOR(RESOLVE),    [OPT_CACHE - 256] = FOR(LISTEN),
	[OPT_HELP - 256] = ~0u,             [OPT_VERSION - 256] = ~0u,
};

static uint64_t options_time(const char *name, const char *text, uint64_t max_ns)
{
	uint64_t ns;

	if (!units_duration(&ns, text) || ns == 0 || ns > max_ns)
		usage_fail("--%s %s: invalid time (for example 300ms, 10s; at most %llu s)", name,
			   text, (unsigned long long)(max_ns / 1000000000));
	return ns;
}

static int options_level(const char *text)
{
	uint64_t n  = 1;
	bool     minus = text && text[0] == '-';

	if (text && (!units_number(&n, text + minus, 1, minus ? 100 : 19)))
		usage_fail("--compress=%s: invalid value (valid: 1 to 19, -1 to -100)", text);
	return minus ? -(int)n : (int)n;
}

static void options_one(struct options *o, int opt, const char *arg)
{
	const uint64_t second = 1000000000;
	struct fail    why;

	switch (opt) {
	case OPT_LISTEN:
		if (address_parse(&o->to, arg, true, &why))
			usage_fail_why(&why);
		break;
	case OPT_ANSWER:
		o->answer = true;
		if (address_parse(&o->answer_at, arg, true, &why))
			usage_fail_why(&why);
		break;
	case OPT_ASK:
		if (address_parse(&o->ask, arg, true, &why))
			usage_fail_why(&why);
		break;
	case OPT_ONCE:      o->once = true; break;
	case OPT_INSECURE:  o->insecure = true; break;
	case OPT_SPAWN:     o->spawn = arg; break;
	case OPT_COMPRESS:  o->level = options_level(arg); break;
	case OPT_DOWNTIME:  o->max_downtime_ns = options_time("max-downtime", arg, 3600 * second); break;
	case OPT_DEADLINE:  o->pause_deadline_ns = options_time("pause-deadline", arg, 3600 * second); break;
	case OPT_TIMEOUT:   o->handover_timeout_ns = options_time("handover-timeout", arg, 86400 * second); break;
	case OPT_ROUNDS:
		if (!units_number(&o->max_rounds, arg, 1, 100000))
			usage_fail("--max-rounds %s: invalid value (valid: 1 to 100000)", arg);
		break;
	case OPT_BANDWIDTH:
		if (!units_size(&o->bandwidth, arg) || o->bandwidth < 64 * 1024)
			usage_fail("--bandwidth %s: invalid value (valid: 64K or more)", arg);
		break;
	case OPT_CACHE:
		o->image_cache = 0;
		if (strcmp(arg, "0") && !units_size(&o->image_cache, arg))
			usage_fail("--image-cache %s: invalid value (valid: 0, or for example 1G)",
				   arg);
		break;
	case OPT_PROGRESS:
		if (!progress_mode_parse(&o->progress, arg, stderr))
			usage_fail("--progress %s: invalid value (valid: auto, line, json, none)",
				   arg);
		break;
	case OPT_AUDIT:     o->audit = true; break;
	case OPT_OWN:       o->own = true; break;
	case OPT_DISOWN:    o->disown = true; break;
	case OPT_YES:       o->yes = true; break;
	case OPT_DEAD:      o->peer_is_dead = true; break;
	case OPT_HELP:
		fputs(usage_text, stdout);
		exit(0);
	case OPT_VERSION:
		printf("vmmigrate %s\n", VMFERRY_VERSION);
		exit(0);
	default:
		fputs(usage_text, stderr);
		exit(2);
	}
}

/* What the operands make of it. */
static void options_operands(struct options *o, int n, char **v, uint32_t seen)
{
	static const struct { const char *word; enum verb verb; int min, max; } words[] = {
		{ "status", VERB_STATUS, 0, 1 }, { "resume", VERB_RESUME, 1, 1 }, { "resolve", VERB_RESOLVE, 1, 1 },
	};
	struct fail why;

	o->verb = VERB_MOVE;
	for (size_t i = 0; n > 0 && i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(v[0], words[i].word))
			continue;
		o->verb = words[i].verb;
		if (n - 1 < words[i].min)
			usage_fail("%s: missing VM operand", v[0]);
		if (n - 1 > words[i].max)
			usage_fail("%s: unexpected operand '%s'", v[0], v[1 + words[i].max]);
		o->vm = n > 1 ? v[1] : NULL;
	}
	if (seen & 1u << (OPT_LISTEN - 256)) {
		if (o->verb != VERB_MOVE)
			usage_fail("--listen and %s are mutually exclusive", v[0]);
		o->verb      = VERB_LISTEN;
		o->overrides = v;
	} else if (o->verb == VERB_MOVE) {
		if (n < 1)
			usage_fail("missing VM operand");
		if (n < 2)
			usage_fail("missing HOST operand");
		if (n > 2)
			usage_fail("unexpected operand '%s'", v[2]);
		o->vm = v[0];
		if (address_parse(&o->to, v[1], false, &why))
			usage_fail_why(&why);
		if (!strcmp(o->to.port, "0"))
			usage_fail("%s: invalid port 0 (valid: 1 to 65535)", v[1]);
	}
	for (size_t i = 0; i < sizeof(options_for) / sizeof(options_for[0]); i++)
		if ((seen & 1u << i) && !(options_for[i] & 1u << o->verb))
			usage_fail("--%s: not valid for this command", options_long[i].name);
	if (o->verb == VERB_RESOLVE && o->own == o->disown)
		usage_fail("resolve requires either --own or --disown");
}

void options_parse(struct options *o, int argc, char **argv)
{
	uint32_t seen = 0;
	int      opt;

	*o = (struct options){ .max_downtime_ns = 300000000, .max_rounds = 30, .pause_deadline_ns = 30000000000,
			       .handover_timeout_ns = 60000000000, .ask.port = ADDRESS_PORT, .image_cache = IMAGE_CACHE_BYTES };
	progress_mode_parse(&o->progress, "auto", stderr);
	/* Options may follow operands, so that `resolve web --own` reads well; "--" ends them. */
	while ((opt = getopt_long(argc, argv, "", options_long, NULL)) != -1) {
		if (opt >= 256)
			seen |= 1u << (opt - 256);
		options_one(o, opt, optarg);
	}
	options_operands(o, argc - optind, argv + optind, seen);
}
