/* SPDX-License-Identifier: MIT */
#include "vmrun/host/chardev_internal.h"

#include "libcommon/io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG_MAX   ((size_t)1 << 20)
#define BACKLOG_BUSY  ((size_t)64 << 10)     /* from here on chardev_capacity is false */
/* One write to a descriptor that could block, after poll said it would not. */
#define BLOCKING_MAX  512u
#define WAIT_MS       2000

/* For a terminal, which was left to end lines by itself (chardev_host.c). */
static const char help_text[] =
	"\n"
	"Ctrl-a h       this help\n"
	"Ctrl-a x       quit: power off the VM\n"
	"Ctrl-a Ctrl-a  send Ctrl-a\n";

/* --- output --- */

/* Writes without waiting: the bytes taken, -1 when the other end is gone for good. */
static ssize_t chardev_try(struct chardev *c, const uint8_t *data, size_t len)
{
	struct pollfd p = { .fd = c->out, .events = POLLOUT };
	ssize_t       n;

	if (c->out_blocking) {
		if (poll(&p, 1, 0) <= 0)
			return 0;
		if (len > BLOCKING_MAX)
			len = BLOCKING_MAX;
	}
	do {
		n = c->out_socket
		    ? send(c->out, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
		    : write(c->out, data, len);
	} while (n < 0 && errno == EINTR);
	if (n >= 0 || errno == EAGAIN || errno == EWOULDBLOCK)
		return n < 0 ? 0 : n;
	/* A full disk: this text is lost, later text may fit. */
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
		c->lost += len;
		return (ssize_t)len;
	}
	return -1;
}

void chardev_out_gone(struct chardev *c)
{
	c->lost += c->backlog_len;
	c->backlog_at = c->backlog_len = 0;
	loop_remove(c->loop, c->out_watch);
	c->out_watch = NULL;
	io_close(&c->out);
	pthread_cond_broadcast(&c->drained);
}

/* Under lock: writes as much of the backlog as does not block. */
static void chardev_flush(struct chardev *c)
{
	while (c->out >= 0 && c->backlog_len) {
		ssize_t n = chardev_try(c, c->backlog + c->backlog_at, c->backlog_len);

		if (n < 0) {
			chardev_out_gone(c);
			break;
		}
		if (n == 0)
			break;
		c->backlog_at  += (size_t)n;
		c->backlog_len -= (size_t)n;
	}
	if (!c->backlog_len)
		c->backlog_at = 0;
}

static void chardev_append(struct chardev *c, const uint8_t *data, size_t len)
{
	if (len > BACKLOG_MAX - c->backlog_len) {
		c->lost += len - (BACKLOG_MAX - c->backlog_len);
		len = BACKLOG_MAX - c->backlog_len;
	}
	if (len == 0)
		return;
	if (c->backlog_at && c->backlog_at + c->backlog_len + len > c->backlog_capacity) {
		memmove(c->backlog, c->backlog + c->backlog_at, c->backlog_len);
		c->backlog_at = 0;
	}
	if (c->backlog_len + len > c->backlog_capacity) {
		size_t   capacity = c->backlog_capacity ? c->backlog_capacity : 4096;
		uint8_t *more;

		while (capacity < c->backlog_len + len)
			capacity *= 2;
		more = realloc(c->backlog, capacity);
		if (!more) {
			c->lost += len;
			return;
		}
		c->backlog      = more;
		c->backlog_capacity = capacity;
	}
	memcpy(c->backlog + c->backlog_at + c->backlog_len, data, len);
	c->backlog_len += len;
}

static void chardev_out_ready(void *arg, uint32_t events)
{
	struct chardev *c = arg;
	bool            capacity;

	(void)events;
	pthread_mutex_lock(&c->lock);
	chardev_flush(c);
	if (!c->backlog_len) {
		loop_remove(c->loop, c->out_watch);
		c->out_watch = NULL;
	}
	capacity = c->asked && c->backlog_len < BACKLOG_BUSY / 2;
	if (capacity)
		c->asked = false;
	if (c->backlog_len < BACKLOG_BUSY)
		pthread_cond_broadcast(&c->drained);
	pthread_mutex_unlock(&c->lock);
	if (capacity && c->ops.writable)
		c->ops.writable(c->ops.arg);
}

void chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
	struct fail why;

	pthread_mutex_lock(&c->lock);
	c->written += len;
	if (c->out < 0) {
		if (c->kind != CHARDEV_NONE)      /* "none" is where it was meant to go */
			c->lost += len;
		goto out;
	}
	while (!c->backlog_len && len) {
		ssize_t n = chardev_try(c, data, len);

		if (n < 0) {
			c->lost += len;
			chardev_out_gone(c);
			goto out;
		}
		if (n == 0)
			break;
		data += n;
		len  -= (size_t)n;
	}
	chardev_append(c, data, len);
	if (c->backlog_len && !c->out_watch) {
		c->out_watch = loop_add(c->loop, c->out, EPOLLOUT, chardev_out_ready, c, &why);
		if (!c->out_watch)     /* nothing would ever write it */
			chardev_out_gone(c);
	}
out:
	pthread_mutex_unlock(&c->lock);
}

bool chardev_capacity(struct chardev *c)
{
	bool capacity;

	if (!c->waits)
		return true;
	pthread_mutex_lock(&c->lock);
	capacity = c->backlog_len < BACKLOG_BUSY;
	if (!capacity)
		c->asked = true;
	pthread_mutex_unlock(&c->lock);
	return capacity;
}

void chardev_wait(struct chardev *c)
{
	struct timespec until;

	if (!c->waits)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&c->lock);
	while (c->backlog_len >= BACKLOG_BUSY)
		if (pthread_cond_timedwait(&c->drained, &c->lock, &until))
			break;
	pthread_mutex_unlock(&c->lock);
}

/* --- input --- */

static void chardev_input_end(struct chardev *c)
{
	loop_remove(c->loop, c->in_watch);
	c->in_watch = NULL;
	io_close(&c->in);
}

/* Takes Ctrl-a and what follows out of what was typed. */
static size_t chardev_unescape(struct chardev *c, uint8_t *data, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t b = data[i];

		if (!c->escaped && b == 1) {
			c->escaped = true;
			continue;
		}
		if (!c->escaped || b == 1)
			data[n++] = b;
		else if (b == 'x' && c->ops.quit)
			c->ops.quit(c->ops.arg);
		else if (b == 'h' || b == '?')
			chardev_write(c, (const uint8_t *)help_text, sizeof(help_text) - 1);
		c->escaped = false;
	}
	return n;
}

static void chardev_in_ready(void *arg, uint32_t events);

/* Watches the input again, or asks to be kicked when it can't be watched. */
static void chardev_input_again(struct chardev *c)
{
	struct fail why;
	uint64_t    one = 1;

	if (c->in < 0)
		return;
	if (c->in_file) {
		if (write(c->kick, &one, sizeof(one)) < 0)
			return;     /* EAGAIN: it is kicked already */
	} else if (!c->in_watch) {
		c->in_watch = loop_add(c->loop, c->in, EPOLLIN, chardev_in_ready, c, &why);
	}
}

/* Ctrl-a is for us, whatever the guest has not taken yet. */
static bool chardev_may_read(const struct chardev *c)
{
	return !c->input_len || (c->escape && c->input_len < sizeof(c->input));
}

/* True when there is space to read more. */
static bool chardev_offer(struct chardev *c)
{
	/* Set before the offer: a guest that reads right after it must see it and kick us, however
	 * the two race. */
	atomic_store(&c->stopped, true);
	if (c->input_len) {
		size_t n = c->ops.receive(c->ops.arg, c->input + c->input_at, c->input_len);

		c->input_at  += n;
		c->input_len -= n;
	}
	if (!c->input_len)
		atomic_store(&c->stopped, false);
	if (chardev_may_read(c))
		return true;
	/* Not only masked: epoll would report a hangup for ever. */
	loop_remove(c->loop, c->in_watch);
	c->in_watch = NULL;
	return false;
}

static void chardev_in_ready(void *arg, uint32_t events)
{
	struct chardev *c = arg;
	uint8_t        *to;
	size_t          capacity;
	ssize_t         n;

	(void)events;
	if (c->in < 0 || !chardev_offer(c))
		return;
	memmove(c->input, c->input + c->input_at, c->input_len);
	c->input_at = 0;
	to   = c->input + c->input_len;
	capacity = sizeof(c->input) - c->input_len;
	do {
		n = read(c->in, to, capacity < CHARDEV_INPUT_ONCE ? capacity : CHARDEV_INPUT_ONCE);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n <= 0) {     /* of a socket: the client may still read what the guest says */
		chardev_input_end(c);
		return;
	}
	c->input_len += c->escape ? chardev_unescape(c, to, (size_t)n) : (size_t)n;
	if (chardev_offer(c) && c->in_file)
		chardev_input_again(c);
}

static void chardev_kicked(void *arg, uint32_t events)
{
	struct chardev *c = arg;
	uint64_t        n;

	if (read(c->kick, &n, sizeof(n)) < 0)
		return;
	if (c->in_file)
		chardev_in_ready(c, events);
	else if (chardev_offer(c))
		chardev_input_again(c);
}

int chardev_input_start(struct chardev *c, struct fail *why)
{
	c->in_file  = false;
	c->in_watch = loop_add(c->loop, c->in, EPOLLIN, chardev_in_ready, c, why);
	if (!c->in_watch && why->sys != EPERM)
		return -1;
	/* A regular file or /dev/null: always readable, and epoll refuses it. */
	if (!c->in_watch) {
		c->in_file = true;
		chardev_input_again(c);
	}
	return 0;
}

void chardev_ready(struct chardev *c)
{
	uint64_t one = 1;

	if (atomic_load(&c->stopped) && write(c->kick, &one, sizeof(one)) < 0)
		return;     /* EAGAIN: it is kicked already */
}

void chardev_hangup(struct chardev *c)
{
	chardev_input_end(c);
	c->input_len = 0;
	atomic_store(&c->stopped, false);
	pthread_mutex_lock(&c->lock);
	chardev_out_gone(c);
	pthread_mutex_unlock(&c->lock);
}

/* --- life --- */

int chardev_open(struct chardev **out, const char *spec, struct loop *loop,
		 const struct chardev_ops *ops, struct fail *why)
{
	struct chardev    *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return fail_sys(why, "serial port");
	c->loop = loop;
	c->ops  = *ops;
	c->in = c->out = c->kick = c->listener = c->slave = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->drained, &attr);
	pthread_condattr_destroy(&attr);

	if (chardev_host_open(c, spec, why))
		goto fail;
	if (c->kind != CHARDEV_NONE) {
		c->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (c->kick < 0) {
			fail_sys(why, "serial port");
			goto fail;
		}
		c->kick_watch = loop_add(loop, c->kick, EPOLLIN, chardev_kicked, c, why);
		if (!c->kick_watch)
			goto fail;
	}
	if (c->in >= 0 && chardev_input_start(c, why))
		goto fail;
	if (c->listener >= 0 &&
	    acceptor_open(&c->acceptor, loop, c->listener, chardev_accept, c, why))
		goto fail;
	*out = c;
	return 0;
fail:
	fail_prefix(why, "serial %s: ", spec);
	chardev_close(c);
	return -1;
}

const char *chardev_where(const struct chardev *c)
{
	return c->where;
}

void chardev_counts(struct chardev *c, uint64_t *out, uint64_t *lost)
{
	pthread_mutex_lock(&c->lock);
	*out  = c->written;
	*lost = c->lost;
	pthread_mutex_unlock(&c->lock);
}

void chardev_close(struct chardev *c)
{
	uint64_t until = io_now_ns() + (uint64_t)WAIT_MS * 1000000;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	chardev_flush(c);
	/* The end of the output of a guest, piped to a slow reader; sockets and ptys may lose
	 * it. */
	while (c->waits && c->out >= 0 && c->backlog_len && io_now_ns() < until) {
		struct pollfd p = { .fd = c->out, .events = POLLOUT };

		poll(&p, 1, 100);
		chardev_flush(c);
	}
	if (c->out >= 0)
		chardev_out_gone(c);
	pthread_mutex_unlock(&c->lock);

	if (c->terminal)
		chardev_restore_terminal();
	chardev_unlink(c);
	if (c->in >= 0)
		chardev_input_end(c);
	loop_remove(c->loop, c->kick_watch);
	acceptor_close(c->acceptor);
	io_close(&c->kick);
	io_close(&c->listener);
	io_close(&c->slave);
	pthread_cond_destroy(&c->drained);
	pthread_mutex_destroy(&c->lock);
	free(c->backlog);
	free(c);
}
