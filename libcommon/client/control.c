/* SPDX-License-Identifier: MIT */
#include "libcommon/client/control.h"

#include "libcommon/io.h"
#include "libcommon/paths.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Bytes of an answer: that of vmferry-inspect for a large VM is the longest. */
#define CONTROL_LINE_MAX    (16u << 20)
/* Events are queued until they are asked for; beyond this the oldest are dropped. */
#define CONTROL_EVENTS_MAX  4096u
/* vmrun may be stopping vCPUs, which takes at most 10 s. */
#define CONTROL_GREETING_MS 15000u

struct control {
	int      sock;
	int      fd;               /* came with the last read, not passed on yet; -1: none */
	uint64_t serial;           /* id of the last command */
	json_t  *events;           /* array, oldest first */
	char    *buf;              /* [start, len) is not parsed yet; no newline before `seen` */
	size_t   start, seen, len, capacity;
	char     vm[PATHS_MAX];
};

void control_close(struct control *c)
{
	if (!c)
		return;
	io_close(&c->sock);
	io_close(&c->fd);
	json_decref(c->events);
	free(c->buf);
	free(c);
}

const char *control_vm(const struct control *c)
{
	return c->vm;
}

static uint64_t control_deadline(unsigned timeout_ms)
{
	return timeout_ms ? io_now_ns() + (uint64_t)timeout_ms * 1000000u : 0;
}

/* Makes space for more bytes behind buf[len]: moves what is left to the front, then grows. */
static int control_capacity(struct control *c, struct fail *why)
{
	if (c->start) {
		memmove(c->buf, c->buf + c->start, c->len - c->start);
		c->len -= c->start;
		c->seen -= c->start;
		c->start = 0;
	}
	if (c->len < c->capacity)
		return 0;
	if (c->capacity >= CONTROL_LINE_MAX)
		return fail_set(why, FAIL_PEER, "%s: reply line longer than %u MiB", c->vm,
				CONTROL_LINE_MAX >> 20);

	size_t capacity = c->capacity ? c->capacity * 2 : 64u << 10;
	char  *buf      = realloc(c->buf, capacity);

	if (!buf) {
		errno = ENOMEM;
		return fail_sys(why, "%s: line buffer", c->vm);
	}
	c->buf      = buf;
	c->capacity = capacity;
	return 0;
}

/* Keeps the one descriptor that may come with an answer; a second one is closed. */
static void control_take_fds(struct control *c, struct msghdr *m)
{
	size_t capacity = c->fd < 0;
	int    fd;

	if (io_fds_take(m, &fd, capacity) && capacity)
		c->fd = fd;
}

static int control_fill(struct control *c, uint64_t deadline_ns, struct fail *why)
{
	union {
		struct cmsghdr align;
		char           bytes[CMSG_SPACE(4 * sizeof(int))];
	} ctl = { 0 };

	if (control_capacity(c, why))
		return -1;

	struct iovec  iov = { .iov_base = c->buf + c->len, .iov_len = c->capacity - c->len };
	struct msghdr m   = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl.bytes, .msg_controllen = sizeof(ctl.bytes),
	};

	for (;;) {
		if (deadline_ns) {
			uint64_t      now  = io_now_ns();
			struct pollfd p    = { .fd = c->sock, .events = POLLIN };
			uint64_t      left = now < deadline_ns ? deadline_ns - now : 0;
			int           n    = poll(&p, 1, left ? (int)(left / 1000000u) + 1 : 0);

			if (n == 0 || (n < 0 && errno == EINTR)) {
				if (io_now_ns() >= deadline_ns)
					return fail_set(why, FAIL_PEER,
							"%s: timed out waiting for a reply", c->vm);
				continue;
			}
		}
		ssize_t got = recvmsg(c->sock, &m, MSG_CMSG_CLOEXEC);

		if (got > 0) {
			control_take_fds(c, &m);
			c->len += (size_t)got;
			if (m.msg_flags & MSG_CTRUNC)
				return io_fds_lost(c->sock, c->vm, why);
			return 0;
		}
		if (got == 0 || errno == ECONNRESET)
			return fail_set(why, FAIL_ENDED, "%s: connection closed by vmrun", c->vm);
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)           /* not reached: SO_RCVTIMEO is never set */
			continue;
		return fail_sys(why, "%s: receive", c->vm);
	}
}

/* The next JSON object: a new reference. */
static int control_message(struct control *c, json_t **out, uint64_t deadline_ns, struct fail *why)
{
	for (;;) {
		size_t more = c->len - c->seen;
		char  *end  = more ? memchr(c->buf + c->seen, '\n', more) : NULL;

		if (end) {
			json_error_t err;
			size_t       at  = c->start;
			size_t       len = (size_t)(end - c->buf) - at;

			c->start = c->seen = at + len + 1;
			*out = json_loadb(c->buf + at, len, 0, &err);
			if (json_is_object(*out))
				return 0;
			json_decref(*out);
			*out = NULL;
			return fail_set(why, FAIL_PEER, "%s: not a control socket: invalid JSON",
					c->vm);
		}
		c->seen = c->len;
		if (control_fill(c, deadline_ns, why))
			return -1;
	}
}

static void control_queue_event(struct control *c, json_t *event)
{
	if (json_array_size(c->events) >= CONTROL_EVENTS_MAX)
		json_array_remove(c->events, 0);
	json_array_append(c->events, event);
}

static int control_connect(struct control *c, const char *vm, struct fail *why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval     tv = { .tv_sec = 10 };     /* a full backlog must not hang a tool */
	char               path[PATHS_MAX];

	if (paths_socket(path, vm, false, why))
		return -1;
	/* Its length was checked by paths_socket(). */
	memcpy(to.sun_path, path, strlen(path) + 1);
	c->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->sock < 0)
		return fail_sys(why, "%s: socket", vm);
	setsockopt(c->sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(c->sock, (struct sockaddr *)&to, sizeof(to)) == 0)
		return 0;
	if (errno == ENOENT)
		return fail_set(why, FAIL_PEER, "no running VM '%s': %s does not exist", vm, path);
	if (errno == ECONNREFUSED)
		return fail_set(why, FAIL_PEER, "no running VM '%s': stale socket %s", vm, path);

	int sys = errno;

	fail_set(why, FAIL_PEER, "%s: connect", path);
	why->sys = sys;
	return -1;
}

int control_open(struct control **out, const char *vm, struct fail *why)
{
	struct control *c = calloc(1, sizeof(*c));
	json_t         *m = NULL;
	int             rc = -1;

	*out = NULL;
	if (!c) {
		errno = ENOMEM;
		return fail_sys(why, "%s: connection", vm);
	}
	c->sock = c->fd = -1;
	snprintf(c->vm, sizeof(c->vm), "%s", vm);
	c->events = json_array();
	if (!c->events) {
		errno = ENOMEM;
		fail_sys(why, "%s: connection", vm);
		goto out;
	}
	if (control_connect(c, vm, why))
		goto out;
	if (control_message(c, &m, control_deadline(CONTROL_GREETING_MS), why)) {
		if (why->kind == FAIL_ENDED)
			why->kind = FAIL_PEER;     /* it ended before it could be asked anything */
		goto out;
	}
	if (!json_is_object(json_object_get(m, "QMP"))) {
		fail_set(why, FAIL_PEER, "%s: not a control socket: missing QMP greeting", vm);
		goto out;
	}
	if (control_execute(c, "qmp_capabilities", NULL, NULL, NULL, NULL, CONTROL_GREETING_MS,
			    why))
		goto out;
	*out = c;
	c    = NULL;
	rc   = 0;
out:
	json_decref(m);
	control_close(c);
	return rc;
}

static int control_send(struct control *c, const char *command, json_t *args, struct fail *why)
{
	json_t *m = json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)++c->serial);
	char   *text;
	int     rc = -1;

	if (m && args)
		json_object_set(m, "arguments", args);
	text = m ? json_dumps(m, JSON_COMPACT) : NULL;
	json_decref(m);
	if (!text)
		return fail_set(why, FAIL_USAGE, "%s: %s: arguments are not valid JSON", c->vm,
				command);

	size_t len = strlen(text);

	text[len] = '\n';     /* replaces the NUL: one line by one write */
	rc = io_send(c->sock, text, len + 1, control_deadline(CONTROL_GREETING_MS), c->vm, why);
	free(text);
	if (rc && (why->sys == EPIPE || why->sys == ECONNRESET))
		return fail_set(why, FAIL_ENDED, "%s: connection closed by vmrun", c->vm);
	return rc;
}

/* "return" or "error" of m, our answer. */
static int control_answer(struct control *c, json_t *m, json_t **ret, char cls[64],
			  struct fail *why)
{
	json_t *value = json_object_get(m, "return"), *error = json_object_get(m, "error");

	if (value) {
		if (ret)
			*ret = json_incref(value);
		return 0;
	}
	const char *class = json_string_value(json_object_get(error, "class"));
	const char *desc  = json_string_value(json_object_get(error, "desc"));

	if (cls)
		snprintf(cls, 64, "%s", class ? class : "GenericError");
	return fail_set(why, FAIL_PEER, "%s: %s", c->vm,
			desc ? desc : "invalid reply: neither return nor error");
}

int control_execute(struct control *c, const char *command, json_t *args, json_t **ret, int *fd,
		    char cls[64], unsigned timeout_ms, struct fail *why)
{
	uint64_t deadline = control_deadline(timeout_ms);
	int      rc;

	if (ret)
		*ret = NULL;
	if (fd)
		*fd = -1;
	if (cls)
		cls[0] = '\0';
	io_close(&c->fd);
	if (control_send(c, command, args, why))
		return -1;
	for (;;) {
		json_t *m;

		if (control_message(c, &m, deadline, why))
			return -1;
		if (json_object_get(m, "event")) {
			control_queue_event(c, m);
			json_decref(m);
			continue;
		}
		/* The answer to a command that timed out earlier has another id. */
		json_t *id = json_object_get(m, "id");

		if (id && (uint64_t)json_integer_value(id) != c->serial) {
			json_decref(m);
			io_close(&c->fd);
			continue;
		}
		rc = control_answer(c, m, ret, cls, why);
		json_decref(m);
		break;
	}
	if (fd && rc == 0) {
		*fd   = c->fd;
		c->fd = -1;
	}
	io_close(&c->fd);
	return rc;
}

int control_event(struct control *c, json_t **event, unsigned timeout_ms, struct fail *why)
{
	uint64_t deadline = control_deadline(timeout_ms);

	for (;;) {
		if (json_array_size(c->events)) {
			*event = json_incref(json_array_get(c->events, 0));
			json_array_remove(c->events, 0);
			return 0;
		}
		if (control_message(c, event, deadline, why))
			return -1;
		if (json_object_get(*event, "event"))
			return 0;
		json_decref(*event);
		*event = NULL;
	}
}
