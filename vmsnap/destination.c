/* SPDX-License-Identifier: MIT */
#include "vmsnap/destination.h"

#include "vmsnap/interrupt.h"

#include <unistd.h>

static void destination_abandon(void *arg)
{
	publish_abandon(arg);
}

int destination_open(struct destination *d, const struct options *o, struct fail *why)
{
	int rc;

	*d = (struct destination)DESTINATION_NONE;
	d->what = "standard output";
	d->fd   = STDOUT_FILENO;
	if (!o->file)
		return 0;
	d->what = o->file;
	d->file = true;
	interrupt_hold();
	rc = publish_open(&d->publish, o->file, o->mode, o->force, why);
	interrupt_release(destination_abandon, &d->publish);
	d->fd = d->publish.fd;
	return rc;
}

int destination_publish(struct destination *d, struct fail *why)
{
	interrupt_hold();
	if (d->file)
		return publish_finish(&d->publish, why);
	return close(STDOUT_FILENO) ? fail_sys(why, "standard output: close") : 0;
}

void destination_close(struct destination *d)
{
	if (d->file)
		publish_abandon(&d->publish);
	publish_close(&d->publish);
}
