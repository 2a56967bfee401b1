/* SPDX-License-Identifier: MIT */
#include "vmrun/control/server.h"

#include "libcommon/io.h"
#include "vmrun/control/qmp_commands.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client on the control socket. All of it runs on the main thread, and nothing here waits: what a
 * client does not read is queued up to SERVER_OUT_MAX, then the client is dropped, so that no
 * client can stop the VM. */

static void client_line_free(struct server_line *l)
{
	io_close(&l->fd);
	free(l);
}

void client_close(struct server_client *c)
{
	if (!c)
		return;
	if (c->watch)
		loop_remove(c->server->vm->loop, c->watch);
	while (c->out) {
		struct server_line *l = c->out;

		c->out = l->next;
		client_line_free(l);
	}
	io_close(&c->fd);
	free(c->in);
	free(c);
}

void client_sweep(struct control_server *s)
{
	struct server_client **at = &s->clients;

	while (*at) {
		struct server_client *c = *at;

		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		s->nclients--;
		client_close(c);
	}
}

/* Sends one line as far as the socket takes it. The descriptor goes with the first byte, once. */
static ssize_t client_put(struct server_client *c, struct server_line *l)
{
	ssize_t n = io_fds_send(c->fd, l->text + l->sent, l->len - l->sent, &l->fd, l->fd >= 0,
				MSG_DONTWAIT);

	if (n > 0)
		io_close(&l->fd);
	return n;
}

void client_flush(struct server_client *c)
{
	while (c->out && !c->dead) {
		struct server_line *l = c->out;
		ssize_t             n = client_put(c, l);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			c->dead = true;
			return;
		}
		l->sent += (size_t)n;
		c->out_bytes -= (size_t)n;
		if (l->sent < l->len)
			continue;
		c->out = l->next;
		if (!c->out)
			c->out_tail = &c->out;
		client_line_free(l);
	}
	if (c->doomed && !c->out)
		c->dead = true;
	if (!c->dead && c->watch)
		loop_change(c->server->vm->loop, c->watch,
			    (c->doomed ? 0u : (uint32_t)EPOLLIN) |
			    (c->out ? (uint32_t)EPOLLOUT : 0u));
}

void client_send(struct server_client *c, const char *text, size_t len, int fd)
{
	struct server_line *l;

	if (c->dead || len + 1 > SERVER_OUT_MAX - c->out_bytes) {
		c->dead = true;
		io_close(&fd);
		return;
	}
	l = malloc(sizeof(*l) + len + 1);
	if (!l) {
		c->dead = true;
		io_close(&fd);
		return;
	}
	l->next = NULL;
	l->fd   = fd;
	l->len  = len + 1;
	l->sent = 0;
	memcpy(l->text, text, len);
	l->text[len] = '\n';
	*c->out_tail = l;
	c->out_tail  = &l->next;
	c->out_bytes += l->len;
}

/* Takes m and fd. */
static void client_send_json(struct server_client *c, json_t *m, int fd)
{
	char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;

	json_decref(m);
	if (!text) {
		c->dead = true;
		io_close(&fd);
		return;
	}
	client_send(c, text, strlen(text), fd);
	free(text);
}

/* Events that came before an answer are sent before it. */
static void client_answer(struct server_client *c, json_t *m, int fd)
{
	events_deliver(c->server);
	client_send_json(c, m, fd);
}

static void client_refuse(struct server_client *c, const char *desc)
{
	client_answer(c, qmp_error(NULL, "GenericError", desc), -1);
	c->doomed = true;
}

static void client_request(struct server_client *c, const char *text, size_t len)
{
	struct qmp_request r;
	struct fail        why = { 0 };
	struct command_call call = { .server = c->server, .vm = c->server->vm,
				     .negotiated = &c->negotiated, .fd = -1,
				     .class = "GenericError" };
	char line[512];

	if (qmp_parse(&r, text, len, &why) || command_execute(&call, &r, &why)) {
		client_answer(c, qmp_error(r.id, call.class, fail_text(&why, line, sizeof(line))),
			      -1);
		json_decref(call.ret);
		io_close(&call.fd);
	} else {
		client_answer(c, qmp_return(r.id, call.ret), call.fd);
	}
	qmp_request_close(&r);
}

/* Executes every complete request in the buffer; what is left of the last one moves to the front.
 * from: bytes that were scanned before. */
static void client_requests(struct server_client *c, size_t from)
{
	size_t begin = 0;

	for (size_t i = from; i < c->in_len && !c->dead && !c->doomed; i++) {
		switch (qmp_scan(&c->scan, c->in[i])) {
		case QMP_BLANK:
		case QMP_RESET:
			begin = i + 1;
			break;
		case QMP_MORE:
			if (i + 1 - begin >= QMP_LINE_MAX)
				client_refuse(c, "request exceeds the limit of 1 MiB");
			break;
		case QMP_VALUE:
			client_request(c, c->in + begin, i + 1 - begin);
			begin = i + 1;
			break;
		case QMP_BEFORE:
			client_request(c, c->in + begin, i - begin);
			begin = i--;
			break;
		case QMP_DEEP:
			client_refuse(c, "JSON nested too deeply");
			break;
		}
	}
	memmove(c->in, c->in + begin, c->in_len - begin);
	c->in_len -= begin;
}

static void client_read(struct server_client *c)
{
	if (c->in_capacity - c->in_len < 4096) {
		/* client_requests() leaves less than QMP_LINE_MAX, so this is bounded by twice
		 * that. */
		size_t capacity = c->in_capacity ? c->in_capacity * 2 : 16384;
		char  *in       = realloc(c->in, capacity);

		if (!in) {
			c->dead = true;
			return;
		}
		c->in          = in;
		c->in_capacity = capacity;
	}
	/* One read per turn of the loop: a client that floods does not starve consoles and other
	 * clients. */
	ssize_t n = recv(c->fd, c->in + c->in_len, c->in_capacity - c->in_len, MSG_DONTWAIT);

	if (n > 0) {
		size_t from = c->in_len;

		c->in_len += (size_t)n;
		client_requests(c, from);
	} else if (n == 0) {
		/* A shell's pipe closes its end after the last command and still wants the
		 * answers. */
		c->doomed = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		c->dead = true;
	}
}

static void client_ready(void *arg, uint32_t events)
{
	struct server_client  *c = arg;
	struct control_server *s = c->server;

	if ((events & (EPOLLIN | EPOLLRDHUP)) && !c->doomed)
		client_read(c);
	else if (events & (EPOLLERR | EPOLLHUP))
		c->dead = true;
	client_flush(c);
	for (struct server_client *o = s->clients; o; o = o->next)
		if (o != c && o->out)
			client_flush(o);     /* events that this request has caused */
	client_sweep(s);
}

/* Own uid or root. The folder is 0700, but a descriptor can be passed on. */
static bool client_is_ours(int fd, pid_t *pid)
{
	struct ucred cred;
	socklen_t    len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ||
	    (cred.uid != geteuid() && cred.uid != 0))
		return false;
	*pid = cred.pid;
	return true;
}

static void client_greet(struct control_server *s, int fd, pid_t pid)
{
	struct server_client *c = calloc(1, sizeof(*c));
	struct fail           why;

	if (!c) {
		close(fd);
		return;
	}
	c->server   = s;
	c->fd       = fd;
	c->pid      = pid;
	c->out_tail = &c->out;
	c->watch    = loop_add(s->vm->loop, fd, EPOLLIN, client_ready, c, &why);
	if (!c->watch) {
		client_close(c);
		return;
	}
	c->next    = s->clients;
	s->clients = c;
	s->nclients++;
	client_send_json(c, qmp_greeting(), -1);
	client_flush(c);
}

void client_accept(void *server, int fd)
{
	struct control_server *s   = server;
	pid_t                  pid = 0;

	if (!client_is_ours(fd, &pid) || s->nclients >= SERVER_CLIENTS_MAX) {
		close(fd);
		return;
	}
	client_greet(s, fd, pid);
	client_sweep(s);
}
