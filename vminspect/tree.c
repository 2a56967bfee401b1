/* SPDX-License-Identifier: MIT */
#include "libcommon/io.h"
#include "libcommon/publish.h"
#include "vminspect/dts.h"
#include "vminspect/open_snapshot.h"
#include "vminspect/options.h"
#include "vminspect/show.h"
#include "vminspect/tree_json.h"

#include <stdio.h>
#include <unistd.h>

/* Complete or absent; replaces a file only with force, and never the snapshot it comes from. */
static int tree_write_file(const struct args *a, const struct input *from, const void *fdt,
			   size_t len, struct fail *why)
{
	struct publish p;
	struct stat    st;
	int            rc = -1;

	if (publish_open(&p, a->dtb, 0600, a->force, why))
		return -1;
	if (fstat(from->fd, &st))
		fail_sys(why, "%s", from->what);
	else if (publish_keep(&p, &st, "the snapshot", why) == 0 &&
		 io_write(p.fd, fdt, len, a->dtb, why) == 0)
		rc = fsync(p.fd) ? fail_sys(why, "%s: fsync", a->dtb) : publish_finish(&p, why);
	publish_abandon(&p);
	publish_close(&p);
	return rc;
}

static int tree_write(const struct args *a, const struct input *from, const void *fdt, size_t len,
		      struct fail *why)
{
	if (!publish_standard(a->dtb))
		return tree_write_file(a, from, fdt, len, why);
	if (isatty(STDOUT_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard output is a terminal: the tree is binary, redirect it");
	return io_write(STDOUT_FILENO, fdt, len, "standard output", why);
}

int tree_run(const struct args *a, struct fail *why)
{
	const struct view_want want = { .verify = false };
	struct snapshot_view  *v    = NULL;
	int                    which = a->config ? 0 : 1, rc = -1;

	if (view_open(&v, a->file, &want, why))
		goto out;
	if (a->dtb) {
		rc = tree_write(a, &v->in, v->trees[which], v->lens[which], why);
	} else if (a->json) {
		rc = show_json(tree_json(v->trees[which]));
		if (rc)
			fail_sys(why, "standard output");
	} else {
		dts_print(stdout, v->trees[which]);
		rc = 0;
	}
out:
	view_close(v);
	return rc;
}
