/* SPDX-License-Identifier: MIT */
#include "vmsnap/interrupt.h"
#include "vmsnap/options.h"
#include "vmsnap/report.h"
#include "vmsnap/save.h"

#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct options     opt;
	struct progress    progress;
	struct save_report report;
	struct fail        why = { 0 };

	if (io_standard_fds(&why))
		return fail_report("vmsnap", &why);
	options_parse(&opt, argc, argv);
	progress_open(&progress, opt.progress, stderr, opt.vm);

	int rc = interrupt_start(&why);

	if (rc == 0)
		rc = save_run(&opt, &progress, &report, &why);
	progress_clear(&progress);
	if (rc)
		return fail_report("vmsnap", &why);
	if (!opt.quiet)
		report_print(stderr, &opt, &report);
	if (!opt.state_only && !report.committed && !report.stopped) {
		fail_prefix(&report.commit_why, "snapshot complete, but vmrun was not notified: ");
		fail_report("vmsnap", &report.commit_why);
	}
	if (!opt.quiet && !report.authenticated) {
		fail_prefix(&report.auth_why,
			    "snapshot complete, but a restore requires --trust-paths: ");
		fail_report("vmsnap", &report.auth_why);
	}
	return EXIT_SUCCESS;
}
