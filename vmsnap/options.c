/* SPDX-License-Identifier: MIT */
#include "vmsnap/options.h"

#include "libcommon/publish.h"
#include "libcommon/units.h"
#include "libcommon/version.h"

#include <err.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_DOWNTIME = 256, OPT_ROUNDS, OPT_BUFFER, OPT_COMPRESS, OPT_IMAGES, OPT_STATE, OPT_STOP, OPT_PROGRESS, OPT_DEADLINE, OPT_FORCE,
       OPT_MODE, OPT_VERSION };

static const struct option longs[] = {
	{ "max-downtime",   required_argument, NULL, OPT_DOWNTIME },
	{ "max-rounds",     required_argument, NULL, OPT_ROUNDS   },
	{ "pause-buffer",   required_argument, NULL, OPT_BUFFER   },
	{ "pause-deadline", required_argument, NULL, OPT_DEADLINE },
	{ "compress",       optional_argument, NULL, OPT_COMPRESS },
	{ "with-images",    no_argument,       NULL, OPT_IMAGES   },
	{ "state-only",     no_argument,       NULL, OPT_STATE    },
	{ "stop-after",     no_argument,       NULL, OPT_STOP     },
	{ "force",          no_argument,       NULL, OPT_FORCE    },
	{ "mode",           required_argument, NULL, OPT_MODE     },
	{ "progress",       required_argument, NULL, OPT_PROGRESS },
	{ "quiet",          no_argument,       NULL, 'q'          },
	{ "help",           no_argument,       NULL, 'h'          },
	{ "version",        no_argument,       NULL, OPT_VERSION  },
	{ NULL, 0, NULL, 0 },
};

static const char usage_text[] =
	"usage: vmsnap [options] VM [FILE]\n"
	"Saves the running virtual machine VM to FILE, or to standard output.\n"
	"  --max-downtime TIME    maximum downtime to aim at (50ms)\n"
	"  --max-rounds N         maximum number of pre-copy rounds (30)\n"
	"  --pause-buffer SIZE    memory for pages copied during the pause (256M)\n"
	"  --pause-deadline TIME  vmrun ends the pause after TIME (10s; 10m with --stop-after)\n"
	"  --compress[=LEVEL]     compress with zstd (default level: 1)\n"
	"  --with-images          include kernel and initrd, for a restore without their files\n"
	"  --state-only           save configuration and device state only, no memory\n"
	"  --stop-after           quit the VM when the snapshot is on disk\n"
	"  --force                overwrite FILE if it exists\n"
	"  --mode MODE            mode of FILE, octal (0400: guest memory holds secrets)\n"
	"  --progress=auto|line|json|none, -q, --quiet\n"
	"  --help, --version\n";

static void options_usage(int status)
{
	FILE *out = status ? stderr : stdout;

	fputs(usage_text, out);
	exit(status);
}

static void options_bad(const char *name, const char *value, const char *want)
{
	warnx("--%s=%s: invalid value (valid: %s)", name, value, want);
	options_usage(2);
}

static int options_level(const char *text)
{
	uint64_t n;

	if (!units_number(&n, text[0] == '-' ? text + 1 : text, 0, 19) || (text[0] == '-' && n > 7))
		options_bad("compress", text, "-7 to 19");
	return text[0] == '-' ? -(int)n : (int)n;
}

/* Octal, as chmod has it: reading and writing, by the owner in any case. */
static mode_t options_mode(const char *text)
{
	size_t n = strspn(text, "01234567");
	long   mode = n && n < 8 && !text[n] ? strtol(text, NULL, 8) : -1;

	if (mode < 0 || mode & ~0666 || !(mode & S_IRUSR))
		options_bad("mode", text, "octal, read and write bits only, for example 0440");
	return (mode_t)mode;
}

void options_parse(struct options *o, int argc, char **argv)
{
	uint64_t    n;
	bool        deadline = false;
	const char *progress = "auto";

	*o = (struct options){ .max_downtime_ns = 50000000, .max_rounds = 30, .pause_buffer = (uint64_t)256 << 20, .pause_deadline_ms = 10000 };
	for (int c; (c = getopt_long(argc, argv, "qh", longs, NULL)) != -1;)
		switch (c) {
		case OPT_DOWNTIME:
			if (!units_duration(&o->max_downtime_ns, optarg))
				options_bad("max-downtime", optarg, "a time, for example 50ms");
			break;
		case OPT_ROUNDS:
			if (!units_number(&n, optarg, 0, 1000000))
				options_bad("max-rounds", optarg, "0 to 1000000");
			o->max_rounds = (uint32_t)n;
			break;
		case OPT_BUFFER:
			if (!units_size(&o->pause_buffer, optarg) || o->pause_buffer > (uint64_t)1 << 40)
				options_bad("pause-buffer", optarg,
					    "a size up to 1T, for example 256M");
			break;
		case OPT_DEADLINE:
			if (!units_duration(&n, optarg) || n < 1000000 || n > 600000000000)
				options_bad("pause-deadline", optarg, "1ms to 10m");
			o->pause_deadline_ms = (unsigned)(n / 1000000);
			deadline = true;
			break;
		case OPT_COMPRESS: o->level = optarg ? options_level(optarg) : 1; break;
		case OPT_IMAGES:   o->with_images = true; break;
		case OPT_STATE:    o->state_only = true; break;
		case OPT_STOP:     o->stop_after = true; break;
		case OPT_FORCE:    o->force = true; break;
		case OPT_MODE:     o->mode = options_mode(optarg); break;
		case OPT_PROGRESS: progress = optarg; break;
		case 'q':          o->quiet = true; break;
		case 'h':          options_usage(0); break;
		case OPT_VERSION:  printf("vmsnap %s\n", VMFERRY_VERSION); exit(0);
		default:           options_usage(2);
		}
	if (o->with_images && o->state_only) {
		warnx("--with-images and --state-only are mutually exclusive");
		options_usage(2);
	}
	if (!progress_mode_parse(&o->progress, progress, stderr))
		options_bad("progress", progress, "auto, line, json, none");
	if (o->quiet)
		o->progress = PROGRESS_NONE;
	/* The pause then lasts until everything is on disk; should we hang, this is when the VM gets its own way. */
	if (o->stop_after && !deadline)
		o->pause_deadline_ms = 600000;
	if (argc - optind < 1 || argc - optind > 2) {
		if (argc - optind < 1)
			warnx("missing VM operand");
		else
			warnx("unexpected operand '%s'", argv[optind + 2]);
		options_usage(2);
	}
	o->vm   = argv[optind];
	o->file = argc - optind == 2 && !publish_standard(argv[optind + 1]) ? argv[optind + 1] : NULL;
	if (!o->file && (o->force || o->mode)) {
		warnx("--%s requires FILE", o->force ? "force" : "mode");
		options_usage(2);
	}
	if (!o->mode)
		o->mode = S_IRUSR;
	if (!o->file && isatty(STDOUT_FILENO)) {
		warnx("standard output is a terminal: specify FILE, or redirect it");
		exit(2);
	}
}
