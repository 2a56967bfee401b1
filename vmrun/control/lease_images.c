/* SPDX-License-Identifier: MIT */
#include "vmrun/control/lease_session.h"

#include "vmrun/control/lease_fds.h"
#include "vmrun/control/server.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/vm.h"

#include <unistd.h>

/* Kernel and initrd over a lease: needed for resets on the target of a move, or after a restore. */

int session_image(struct lease_session *g, struct session_call *call, struct fail *why)
{
	size_t len;
	int    fd;

	if (images_give(g->server->vm, call->in->text, &fd, &len, why))
		return -1;
	call->fds[0] = session_fd_readonly(fd, call->in->text, why);
	close(fd);
	if (call->fds[0] < 0)
		return -1;
	call->nfds      = 1;
	call->out->a[0] = len;
	return 0;
}

int session_image_put(struct lease_session *g, struct session_call *call, struct fail *why)
{
	return images_take(g->server->vm, call->in->text, call->in_fd, (size_t)call->in->a[0], why);
}
