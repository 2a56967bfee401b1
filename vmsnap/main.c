/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert.h"
#include "vmsnap/convert_report.h"
#include "vmsnap/interrupt.h"
#include "vmsnap/options.h"
#include "vmsnap/report.h"
#include "vmsnap/save.h"

#include "libcommon/io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int main_save(const struct options *o, struct fail *why)
{
	struct progress    progress;
	struct save_report report;
	int                rc;

	progress_open(&progress, o->progress, stderr, o->vm);
	rc = interrupt_start("no snapshot saved, the VM continues", why);
	if (rc == 0)
		rc = save_run(o, &progress, &report, why);
	progress_clear(&progress);
	if (rc)
		return fail_report("vmsnap", why);
	if (!o->quiet)
		report_print(stderr, o, &report);
	if (!o->state_only && !report.committed && !report.stopped) {
		fail_prefix(&report.commit_why, "snapshot complete, but vmrun was not notified: ");
		fail_report("vmsnap", &report.commit_why);
	}
	if (!o->quiet && !report.authenticated) {
		fail_prefix(&report.auth_why,
			    "snapshot complete, but a restore requires --trust-paths: ");
		fail_report("vmsnap", &report.auth_why);
	}
	return EXIT_SUCCESS;
}

static int main_convert(const struct options *o, struct fail *why)
{
	const char           *in = o->in ? o->in : "standard input";
	struct progress       progress;
	struct convert_report report;
	int                   rc;

	progress_open(&progress, o->progress, stderr, in);
	rc = interrupt_start("no snapshot written", why);
	if (rc == 0)
		rc = convert_run(o, &progress, &report, why);
	progress_clear(&progress);
	if (rc)
		return fail_report("vmsnap", why);
	if (o->quiet)
		return EXIT_SUCCESS;
	convert_report_print(stderr, o, &report);
	if (report.left_out)
		fprintf(stderr, "vmsnap: %s: %" PRIu64 " chunk%s of unknown meaning left out\n", in,
			report.left_out, report.left_out == 1 ? "" : "s");
	if (!report.authenticated) {
		fail_prefix(&report.auth_why,
			    "snapshot complete, but a restore requires --trust-paths: ");
		fail_report("vmsnap", &report.auth_why);
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct options opt;
	struct fail    why = { 0 };

	if (io_standard_fds(&why))
		return fail_report("vmsnap", &why);
	options_parse(&opt, argc, argv);
	return opt.command == COMMAND_SAVE ? main_save(&opt, &why) : main_convert(&opt, &why);
}
