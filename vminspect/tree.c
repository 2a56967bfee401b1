#include "libcommon/io.h"
#include "vminspect/dts.h"
#include "vminspect/look.h"
#include "vminspect/options.h"
#include "vminspect/show.h"
#include "vminspect/tree_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int tree_write(const char *to, const void *fdt, size_t len, struct fail *why)
{
	bool standard = strcmp(to, "-") == 0;
	int  fd, rc;

	if (standard && isatty(STDOUT_FILENO))
		return fail_set(why, FAIL_USAGE, "standard output is a terminal: the tree is binary, send it to a file or to dtc");
	if (standard)
		return io_write(STDOUT_FILENO, fdt, len, "standard output", why);
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail_sys(why, "%s", to);
	rc = io_write(fd, fdt, len, to, why);
	if (close(fd) && rc == 0)
		rc = fail_sys(why, "%s", to);
	return rc;
}

int tree_run(const struct args *a, struct fail *why)
{
	const struct look_want want = { .verify = false };
	struct look           *l    = NULL;
	int                    which = a->config ? 0 : 1, rc = -1;

	if (look_open(&l, a->file, &want, why))
		goto out;
	if (a->dtb) {
		rc = tree_write(a->dtb, l->trees[which], l->lens[which], why);
	} else if (a->json) {
		rc = show_json(tree_json(l->trees[which]));
		if (rc)
			fail_sys(why, "standard output");
	} else {
		dts_print(stdout, l->trees[which]);
		rc = 0;
	}
out:
	look_close(l);
	return rc;
}
