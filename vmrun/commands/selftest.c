/* SPDX-License-Identifier: MIT */
#include "vmrun/commands/commands.h"

#include "vmrun/accel/accel.h"

#include <stdio.h>
#include <string.h>

/* One line per accelerator: ok, failed, or not available, with the reason. At least one must have
 * run. */
int selftest_main(const char *accelerator)
{
	struct fail why;
	int         ran = 0, failed = 0, known = 0;

	for (const struct accel_ops *const *a = accel_list; *a; a++) {
		char text[400];
		bool can = false;

		if (accelerator && strcmp(accelerator, (*a)->name))
			continue;
		known++;
		for (int t = 0; t < MACHINE_TYPES && !can; t++)
			can = (*a)->probe((enum machine_type)t, &why) == 0;
		if (!can) {
			printf("%s: not available: %s\n", (*a)->name,
					fail_text(&why, text, sizeof(text)));
			continue;
		}
		ran++;
		if ((*a)->selftest(&why) == 0) {
			printf("%s: ok\n", (*a)->name);
			continue;
		}
		failed++;
		printf("%s: failed: %s\n", (*a)->name, fail_text(&why, text, sizeof(text)));
	}
	if (accelerator && !known) {
		fail_set(&why, FAIL_USAGE, "accelerator %.40s not supported by this build",
				accelerator);
		return fail_report("vmrun selftest", &why);
	}
	return failed || !ran ? 1 : 0;
}
