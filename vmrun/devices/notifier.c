/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/notifier.h"

#include "libcommon/io.h"
#include "vmrun/accel/accel.h"
#include "vmrun/devices/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct notify_line {
	struct virtio *v;
	unsigned       queue;
	int            fd;
	bool           set;       /* the accelerator signals it */
};

struct notifier {
	const struct device_host *host;
	pthread_t          thread;
	bool               threaded;
	int                epoll, stop;
	unsigned           nlines;
	struct notify_line lines[LIMIT_DEVICES * VIRTIO_QUEUES_MAX];
};

static void notify_serve(struct notifier *n, struct notify_line *l)
{
	uint64_t count;

	if (read(l->fd, &count, sizeof(count)) < 0)
		return;      /* taken already */
	pthread_mutex_lock(n->host->lock);
	while (l->v->draining)      /* a vCPU resets it */
		pthread_cond_wait(&l->v->drained, n->host->lock);
	virtio_kick(l->v, l->queue);
	pthread_mutex_unlock(n->host->lock);
}

static void *notify_main(void *arg)
{
	struct notifier *n = arg;

	pthread_setname_np(pthread_self(), "notify");
	for (;;) {
		struct epoll_event e[8];
		int                got = epoll_wait(n->epoll, e, 8, -1);

		for (int i = 0; i < got; i++) {
			if (!e[i].data.ptr)
				return NULL;
			notify_serve(n, e[i].data.ptr);
		}
		if (got < 0 && errno != EINTR)
			/* EBADF or EFAULT is a bug here; a VM whose disks hang for ever is
			 * worse. */
			abort();
	}
}

static int notify_watch(struct notifier *n, int fd, void *what, struct fail *why)
{
	struct epoll_event e = { .events = EPOLLIN, .data = { .ptr = what } };

	return epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &e) ? fail_sys(why, "notifier") : 0;
}

static int notify_line(struct notifier *n, struct virtio *v, unsigned queue, struct fail *why)
{
	struct accel       *a = n->host->accel;
	struct notify_line *l = &n->lines[n->nlines++];

	*l = (struct notify_line){ .v = v, .queue = queue,
				   .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (l->fd < 0)
		return fail_sys(why, "%s: eventfd", v->d.node);
	if (notify_watch(n, l->fd, l, why) ||
	    a->ops->notify(a, v->d.cfg.gpa + VIRTIO_MMIO_QUEUE_NOTIFY, queue, l->fd, true, why))
		return -1;
	l->set = true;
	return 0;
}

static int notify_lines(struct notifier *n, struct device *const *devices, unsigned ndevices,
			struct fail *why)
{
	for (unsigned i = 0; i < ndevices; i++) {
		struct virtio *v = (struct virtio *)devices[i];

		if (!devices[i]->ops->virtio)
			continue;
		for (unsigned q = 0; q < v->cls->nqueues; q++)
			if (notify_line(n, v, q, why))
				return -1;
	}
	return 0;
}

int notifier_open(struct notifier **out, const struct device_host *host,
		  struct device *const *devices, unsigned ndevices, struct fail *why)
{
	struct notifier *n;

	*out = NULL;
	if (!host->accel || !host->accel->ops->notify)
		return 0;
	n = calloc(1, sizeof(*n));
	if (!n)
		return fail_sys(why, "notifier");
	n->host  = host;
	n->epoll = epoll_create1(EPOLL_CLOEXEC);
	n->stop  = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->epoll < 0 || n->stop < 0) {
		fail_sys(why, "notifier");
		goto fail;
	}
	if (notify_watch(n, n->stop, NULL, why) || notify_lines(n, devices, ndevices, why))
		goto fail;
	errno = pthread_create(&n->thread, NULL, notify_main, n);
	if (errno) {
		fail_sys(why, "notifier: thread");
		goto fail;
	}
	n->threaded = true;
	*out = n;
	return 0;
fail:
	notifier_close(n);
	return -1;
}

void notifier_close(struct notifier *n)
{
	uint64_t    one = 1;
	struct fail why;

	if (!n)
		return;
	if (n->threaded) {
		while (write(n->stop, &one, sizeof(one)) < 0 && errno == EINTR)
			;
		pthread_join(n->thread, NULL);
	}
	for (unsigned i = 0; i < n->nlines; i++) {
		struct notify_line *l = &n->lines[i];

		if (l->set)
			n->host->accel->ops->notify(n->host->accel,
						    l->v->d.cfg.gpa + VIRTIO_MMIO_QUEUE_NOTIFY,
						    l->queue, l->fd, false, &why);
		io_close(&l->fd);
	}
	io_close(&n->stop);
	io_close(&n->epoll);
	free(n);
}
